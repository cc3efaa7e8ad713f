"""llama-server as it comes: four slots, first come, first served, with its host cache. Run as a child process.

python -m benchmarks.peers.llama_server MODEL SLOTS CONTEXT     prints its address, serves until its input closes
"""

from __future__ import annotations

import os
import sys

import xllamacpp


def main() -> None:
    model, slots, context = sys.argv[1:]
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as Kernos sets it
    greeting = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel = int(slots)
    params.n_ctx = int(context) * int(slots)
    params.n_ubatch = 128  # the best here
    params.cpuparams.n_threads = os.cpu_count() or 1
    params.use_jinja = True
    server = xllamacpp.Server(params)
    print(server.listening_address, file=greeting, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
