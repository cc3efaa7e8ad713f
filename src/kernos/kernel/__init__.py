"""The kernel: pure, standard library only. It decides, records, schedules and meters every system call.

Outside this folder only `abi`, `types`, `errors` and `ports` may be imported. Inside, the rooms form a ladder:

    dispatch › trap › recovery, check › scheduler, context, mailbox › process, monitor, effects, grants, labels
    › state › journal › ports, abi › types, errors, limits
"""
