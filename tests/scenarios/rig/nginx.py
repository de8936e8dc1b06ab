"""An nginx of our own on a free loopback port."""

import os
import socket
import subprocess

from .subject import free_port
from .wait import until


class Nginx:
    def __init__(self, folder, tls=None, keepalive_requests=1000, keepalive_timeout="60s", extra=""):
        self.folder, self.port, self.tls = str(folder), free_port(), tls
        conf = os.path.join(self.folder, "nginx.conf")
        listen = f"listen 127.0.0.1:{self.port}{' ssl' if tls else ''};"
        if tls:
            listen += f"\n    ssl_certificate {tls[0]};\n    ssl_certificate_key {tls[1]};"
        with open(conf, "w", encoding="ascii") as out:
            out.write(f"""
daemon off;
{'user root;' if os.geteuid() == 0 else ''}
worker_processes 1;
pid {self.folder}/nginx.pid;
error_log {self.folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {self.folder}/body;
  proxy_temp_path {self.folder}/proxy;
  fastcgi_temp_path {self.folder}/fastcgi;
  uwsgi_temp_path {self.folder}/uwsgi;
  scgi_temp_path {self.folder}/scgi;
  keepalive_requests {keepalive_requests};
  keepalive_timeout {keepalive_timeout};
  default_type application/octet-stream;
  server {{
    {listen}
    root {self.folder}/www;
    {extra}
  }}
}}
""")
        self.process = subprocess.Popen(["nginx", "-c", conf, "-e", os.path.join(self.folder, "start.log")],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._up, lambda: f"nginx to listen: {self._log()}")

    def _up(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def _log(self):
        for name in ("error.log", "start.log"):
            try:
                with open(os.path.join(self.folder, name), encoding="utf-8") as log:
                    return log.read()
            except OSError:
                continue
        return ""

    def url(self, path):
        return f"http{'s' if self.tls else ''}://{'localhost' if self.tls else '127.0.0.1'}:{self.port}{path}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
