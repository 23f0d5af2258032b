"""A small system under the real supervisor: `python -m tests.supervised DATA_DIR PORT [WORKER_CODE]`.

The services are real, web and worker are a few lines each, and the back-off is short.
"""

import sys
from pathlib import Path

from pim.embedded import supervisor
from pim.embedded.postgres import Postgres
from pim.embedded.process import ChildSpec
from pim.embedded.valkey import Valkey

WEB = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
WORKER = """
import os, subprocess, time
helper = subprocess.Popen(["sleep", "600"])
print("helper", helper.pid, flush=True)
time.sleep(600)
"""


def main(data_dir: str, port: str, worker_code: str = WORKER) -> int:
    supervisor.FIRST_BACKOFF = 0.1
    environment = {"PIM_DATA_DIR": data_dir}
    return supervisor.Supervisor(
        data_dir=Path(data_dir),
        host="127.0.0.1",
        port=int(port),
        services=[Postgres, Valkey],
        prepare=lambda: supervisor.print_line("test", "preparing"),
        children=[
            ChildSpec(name="web", command=[sys.executable, "-c", WEB, port], env=environment),
            ChildSpec(name="worker", command=[sys.executable, "-c", worker_code], env=environment),
        ],
    ).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
