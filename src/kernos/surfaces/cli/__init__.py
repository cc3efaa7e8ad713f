"""The command line: `main` dispatches, each other file holds the commands of one concern."""
