"""S3 servers for tests: moto's, in this process, and versitygw, a program that VERSITYGW or PATH names.

Both keep to the protocol and share nothing else. moto asks for no credentials; versitygw checks them.
"""

import logging
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from functools import cache

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_REGION": "us-east-1"}
SETTINGS = (*KEYS, "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "IMAGE2MUSIC_STORAGE")


@cache
def moto_server():
    """Return host:port of moto's server, one for all tests of this process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"{host}:{port}"


def versitygw_program():
    """Return the program, or skip the test that wants it."""
    program = os.environ.get("VERSITYGW") or shutil.which("versitygw")
    if not program:
        pytest.skip("versitygw is not on PATH, and VERSITYGW does not name it")
    return program


@contextmanager
def versitygw_server(folder, program):
    """Run versitygw over a folder; yield host:port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keys = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    command = [program, "--port", f"127.0.0.1:{port}", "--quiet", "posix", str(folder)]
    with subprocess.Popen(command, env=os.environ | keys, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            for _ in range(100):
                with socket.socket() as line:
                    if line.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            run.kill()


def use_store(monkeypatch, server, **more):
    """Set the environment that names a server, and nothing else of a store."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": f"http://{server}"} | more).items():
        monkeypatch.setenv(name, value)


def make_bucket(server, bucket):
    """Make a bucket in a server that asks for no credentials."""
    request = urllib.request.Request(f"http://{server}/{bucket}", method="PUT")
    with urllib.request.urlopen(request):
        pass
