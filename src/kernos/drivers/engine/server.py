"""The child of the embedded engine: serves one model file with llama.cpp until its standard input closes.

It reads one line of JSON settings, writes one line of JSON (`address` or `error`) when it is ready, and exits without
ceremony when the parent is gone. Standard output carries nothing else; the log goes to standard error.
"""

from __future__ import annotations

import json
import os
import socket
import sys


def _port_is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def main() -> None:
    """Serve until the parent goes away."""
    settings = json.loads(sys.stdin.readline())
    greeting = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # llama.cpp may print to standard output
    if settings["port"] and not _port_is_free(settings["host"], settings["port"]):
        print(json.dumps({"error": f"port {settings['port']} is in use"}), file=greeting, flush=True)
        return
    # The threads of llama.cpp spin while they wait for each other. Beside other work that costs ten times the speed on
    # two cores (22 to 35 tokens/s with this, 2 to 5 without), on an idle machine nothing that could be measured.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        import xllamacpp
    except ImportError:
        lack = {"error": "xllamacpp is not installed: pip install 'kernos[local]'"}
        print(json.dumps(lack), file=greeting, flush=True)
        return

    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.model_alias = {"model"}
    params.hostnames = [settings["host"]]
    params.port = settings["port"]
    params.api_keys = [settings["key"]]
    params.n_ctx = settings["context"] * settings["slots"]
    params.n_parallel = settings["slots"]
    params.n_batch = params.n_ubatch = 128  # a prefill holds up those who decode for so many tokens at a time
    params.cpuparams.n_threads = settings["threads"] or os.cpu_count() or 1
    params.use_jinja = True
    params.slot_save_path = settings["states"]
    params.cache_ram_mib = 0  # llama.cpp #27148: one conversation's state reached another through this cache
    server = xllamacpp.Server(params)
    print(json.dumps({"address": server.listening_address}), file=greeting, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
