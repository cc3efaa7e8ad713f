"""`python -m kernos`, the same as the command `kernos`."""

from kernos.boot import main

main()
