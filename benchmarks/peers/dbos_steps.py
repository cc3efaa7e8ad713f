"""DBOS: one workflow of steps that do nothing, plain functions (its faster kind). Prints the milliseconds of each step.

python dbos_steps.py sqlite:///file.sqlite 2000
"""

from __future__ import annotations

import json
import sys
import time

from dbos import DBOS


def nothing(number: int) -> int:
    """The step."""
    return number


def main(database: str, count: int) -> None:
    """Measure, print."""
    DBOS(config={"name": "peer", "system_database_url": database, "run_admin_server": False, "log_level": "ERROR"})
    step, times = DBOS.step()(nothing), list[float]()

    def flow() -> None:
        for number in range(count):
            started = time.perf_counter()
            step(number)
            times.append((time.perf_counter() - started) * 1e3)

    workflow = DBOS.workflow()(flow)
    DBOS.launch()
    workflow()
    DBOS.destroy()
    print(json.dumps(times))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
