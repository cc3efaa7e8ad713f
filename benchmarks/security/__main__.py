"""AgentDojo under Kernos, with no model: `python -m benchmarks.security`. See README.md."""

from benchmarks.security.home import go_home

if __name__ == "__main__":
    go_home()
    from benchmarks.security.bench import main

    main()
