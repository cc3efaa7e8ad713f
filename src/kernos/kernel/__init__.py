"""The kernel: pure, standard library only. It decides, records, schedules and meters every system call.

Outside this folder only `abi`, `types`, `errors`, `ports` and `office` may be imported; drivers see no `abi` and no
`office`. Inside, the rooms form a ladder, which docs/design.md draws and import-linter holds.
"""
