"""A company: the folder that holds employees, in formats that people already use.

`markdown` reads the files of the Agent Companies and Agent Skills formats and single sub-agent files; `sidecar` reads
our own `kernos.toml`; `folder` puts both together into a `Company`, with all problems and all that is not granted.
Everything here works on texts: reading the disk is boot's.
"""
