"""nginx as a reverse proxy: it does nothing but pass on, so nobody is faster. The floor."""

import getpass
import shutil

from benchmarks.load import Target
from benchmarks.procfs import Roots
from benchmarks.systems.base import Direct, NotHere, start_process
from scripts.processes import free_port

CONFIG = """
user {user};
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    upstream provider {{
        server 127.0.0.1:{provider_port};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        keepalive_requests 1000000000;
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


class Nginx(Direct):
    """Asked like the provider, only on another port."""

    name = "nginx"
    title = "passes the request on, no more"
    processes = "1 worker"

    def start(self, behaviours: list[str]) -> None:
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise NotHere("there is no nginx on PATH")
        folder, self.port = self.bench.folder, free_port()
        config = folder / "nginx.conf"
        config.write_text(
            CONFIG.format(user=getpass.getuser(), folder=folder, provider_port=self.bench.provider.port, port=self.port)
        )
        self.process = start_process(
            self.bench, self.name, [program, "-p", str(folder), "-c", str(config)], port=self.port, ready="/_count"
        )

    def roots(self) -> Roots:
        return {"nginx": [self.process.pid]}

    def target(self, behaviour: str, *, clients: int = 1, stream: bool = False) -> Target:
        return self.on_port(self.port, behaviour, stream=stream)
