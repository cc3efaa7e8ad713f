"""What the scheduler is worth: many programs on one engine, through Kernos and through the engine's own queue.

python -m benchmarks.scheduling                the load of issue 5 on real llama.cpp, three seeds (35 min)
python -m benchmarks.scheduling.fair           the same loads as the next, on real llama.cpp (25 min)
python -m benchmarks.scheduling.rehearsal      bursts, recorded traces, a load whose classes lie, simulated (10 s)
python -m benchmarks.scheduling.switching      6, 24 and 96 agents on two slots (10 min)
python -m benchmarks.scheduling.preemption     a short call in the middle of a long prefill (2 min)
python -m benchmarks.scheduling.scale          8 GPUs and 10,000 programs, simulated over the same code (3 min)
"""
