"""Real servers from Debian's packages, as people run them: ports, bind mounts, volumes, a client inside, stop and start.

Their images are made the way their makers' are: an entry point that prepares the data as root and goes on as a user of
its own, volumes, exposed ports, a stop signal.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import urllib.request
from pathlib import Path

import pexpect
import pytest

from tests.rootless.containers import Engine
from tests.rootless.environment import PATIENCE, UserEnvironment
from tests.rootless.images import ImageRegistry

MARIADB = """#!/bin/sh
set -eu
if [ "$1" = mariadbd ]; then
    id -u mysql >/dev/null 2>&1 || useradd --system --home-dir /var/lib/mysql mysql
    mkdir -p /run/mysqld
    chown -R mysql:mysql /var/lib/mysql /run/mysqld /logs
    if [ ! -d /var/lib/mysql/mysql ]; then
        mariadb-install-db --user=mysql --skip-test-db --auth-root-authentication-method=normal >/dev/null
        printf "ALTER USER root@localhost IDENTIFIED BY '%s';\\nGRANT ALL ON *.* TO root@'%%' IDENTIFIED BY '%s';\\n" \\
            "$MYSQL_ROOT_PASSWORD" "$MYSQL_ROOT_PASSWORD" >/run/mysqld/first.sql
        set -- "$@" --init-file=/run/mysqld/first.sql
    fi
    set -- setpriv --reuid=mysql --regid=mysql --init-groups "$@"
fi
exec "$@"
"""

NGINX = """server {
    listen 80;
    root /usr/share/nginx/html;
    access_log /dev/stdout;
}
"""


@pytest.fixture(scope="module")
def packages(image_registry: ImageRegistry) -> str:
    """A Debian with the servers' packages."""
    wanted = "mariadb-server-core,mariadb-client-core,redis-server,nginx-light"
    return image_registry.add_debian("test/servers:12", wanted)


@pytest.fixture
def servers(user_env: UserEnvironment, packages: str) -> Engine:
    user_env.ptb("pull", "-q", packages, check=True)
    return Engine(user_env, packages)


def made(servers: Engine, name: str, files: dict[str, str], *changes: str) -> str:
    """An image of the packages with some files more and another configuration."""
    servers.ok("create", "--name", "making", servers.image, "true")
    for path, text in files.items():
        source = servers.account.home / path.rpartition("/")[2]
        source.write_text(text)
        source.chmod(0o755)
        servers.ok("cp", str(source), f"making:{path}")
    servers.ok("commit", "-q", *(word for change in changes for word in ("--change", change)), "making", name)
    servers.ok("rm", "making")
    return name


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_line(servers: Engine, container: str, wanted: str, *, times: int = 1) -> None:
    """Follow the log until so many lines have these words."""
    follower = servers.account.start("logs", "-f", container, stderr=subprocess.STDOUT)
    assert follower.stdout is not None
    seen = []
    for line in follower.stdout:
        seen.append(line)
        times -= wanted in line
        if not times:
            break
    else:
        pytest.fail(f"{container} ended: {''.join(seen[-20:])}")
    follower.kill()


def test_a_database_server(servers: Engine) -> None:
    image = made(
        servers,
        "mysql:8",
        {"/usr/local/bin/entrypoint": MARIADB},
        'ENTRYPOINT ["entrypoint"]',
        'CMD ["mariadbd"]',
        "VOLUME /var/lib/mysql",
        "EXPOSE 3306",
    )
    home, port = servers.account.home, free_port()
    for name in ("conf", "logs", "data"):
        (home / name).mkdir()
    (home / "conf/own.cnf").write_text("[mysqld]\nmax_connections=17\nskip-networking=0\nbind-address=*\n")
    words = ("-p", f"127.0.0.1:{port}:3306", "-e", "MYSQL_ROOT_PASSWORD=secret")
    mounts = ("-v", "./conf:/etc/mysql/conf.d", "-v", f"{home}/logs:/logs", "-v", f"{home}/data:/var/lib/mysql")
    options = ("--general-log=1", "--general-log-file=/logs/general.log")
    servers.ok("run", "-d", "--name", "db", *words, *mounts, image, "mariadbd", *options)

    def query(text: str) -> str:
        return servers.ok("exec", "db", "mariadb", "-uroot", "-psecret", "-N", "-e", text).strip()

    await_line(servers, "db", "ready for connections")
    assert query("select @@max_connections, current_user()") == "17\troot@localhost"
    query("create database shop; create table shop.goods (name text); insert into shop.goods values ('lamp')")
    client = ("mariadb", "-h127.0.0.1", f"-P{port}", "-uroot", "-psecret", "-N", "-e", "select name from shop.goods")
    assert servers.ok("run", "--rm", "--network", "host", image, *client) == "lamp\n"
    # On the host the files are the server's own user's, a subordinate id.
    assert (home / "logs/general.log").stat().st_uid not in (0, os.getuid())
    assert "select @@max_connections" in servers.ok("exec", "db", "cat", "/logs/general.log")

    inside = pexpect.spawn(
        servers.account.command.split()[0],
        [*servers.account.command.split()[1:], "exec", "-it", "db", "mariadb", "-uroot", "-psecret"],
        env=servers.account.environ,
        timeout=PATIENCE,
    )
    inside.expect(r"\[\(none\)\]>")
    inside.sendline("select concat(name, 's') from shop.goods;")
    inside.expect("lamps")
    inside.sendline("exit")
    inside.expect("Bye")
    inside.expect(pexpect.EOF)

    servers.ok("stop", "db")
    assert servers.inspect("db")["State"]["ExitCode"] == 0
    servers.ok("start", "db")
    await_line(servers, "db", "ready for connections", times=2)
    assert query("select count(*) from shop.goods") == "1"


def test_a_key_value_server_and_its_volume(servers: Engine) -> None:
    image = made(
        servers,
        "redis:7",
        {},
        "USER redis",
        "WORKDIR /data",
        "VOLUME /data",
        'CMD ["redis-server", "--appendonly", "yes"]',
    )
    servers.ok("run", "-d", "--name", "one", "-v", "store:/data", image)
    await_line(servers, "one", "Ready to accept connections")
    assert servers.ok("exec", "one", "redis-cli", "set", "key", "value") == "OK\n"
    assert servers.ok("exec", "one", "id", "-un") == "redis\n"
    servers.ok("rm", "-f", "one")
    servers.ok("run", "-d", "--name", "two", "-v", "store:/data", image)
    await_line(servers, "two", "Ready to accept connections")
    assert servers.ok("exec", "two", "redis-cli", "get", "key") == "value\n"
    assert servers.ok("exec", "-i", "two", "redis-cli", input="incr n\nincr n\n") == "1\n2\n"
    # Another container in its network reaches it at its own address.
    assert servers.ok("run", "--rm", "--network", "container:two", image, "redis-cli", "ping") == "PONG\n"


def test_containers_that_keep_data_for_others(servers: Engine) -> None:
    servers.ok("create", "--name", "keeper", "-v", "/shared", "-v", "named:/more", servers.image, "true")
    from_keeper = ("--network", "none", "--volumes-from", "keeper")
    servers.ok("run", "--rm", *from_keeper, servers.image, "sh", "-c", "echo one >/shared/file; echo two >/more/file")
    assert servers.ok("run", "--rm", *from_keeper, servers.image, "cat", "/shared/file", "/more/file") == "one\ntwo\n"
    refused = servers(
        "run", "--rm", "--network", "none", "--volumes-from", "keeper:ro", servers.image, "touch", "/shared/x"
    )
    assert "Read-only file system" in refused.stderr
    backup = ("-v", f"{servers.account.home}:/backup", servers.image, "tar", "cf", "/backup/backup.tar", "/shared")
    servers.ok("run", "--name", "archiver", *from_keeper, *backup)
    listed = subprocess.run(
        ["tar", "tf", f"{servers.account.home}/backup.tar"], capture_output=True, text=True, check=True
    )
    assert "shared/file" in listed.stdout


def test_a_web_server(servers: Engine, tmp_path: Path) -> None:
    image = made(
        servers,
        "nginx:1",
        {"/etc/nginx/sites-enabled/default": NGINX},
        'CMD ["nginx", "-g", "daemon off;"]',
        "STOPSIGNAL SIGQUIT",
        "EXPOSE 80",
    )
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.html").write_text("hello from the host")
    servers.ok("run", "-d", "--name", "web", "-P", "-v", f"{pages}:/usr/share/nginx/html", image)

    def fetch(path: str) -> str:
        where = servers.ok("port", "web", "80").split()[0].replace("0.0.0.0", "127.0.0.1")
        with urllib.request.urlopen(f"http://{where}/{path}", timeout=PATIENCE) as answer:
            text: str = answer.read().decode()
            return text

    assert fetch("") == "hello from the host"
    (tmp_path / "more.html").write_text("copied in")
    servers.ok("cp", str(tmp_path / "more.html"), "web:/usr/share/nginx/html/more.html")
    assert fetch("more.html") == "copied in"
    assert (pages / "more.html").read_text() == "copied in"
    await_line(servers, "web", "GET /more.html")
    servers.ok("stop", "web")
    assert servers.inspect("web")["State"]["ExitCode"] == 0
    servers.ok("start", "web")
    assert fetch("") == "hello from the host"
    servers.ok("restart", "web")
    assert fetch("more.html") == "copied in"

    # What was changed in it becomes an image, and its files become another.
    servers.ok("exec", "web", "sh", "-c", "echo changed >/etc/motd")
    servers.ok("commit", "-q", "web", "nginx:2")
    assert servers.ok("run", "--rm", "--network", "none", "nginx:2", "cat", "/etc/motd") == "changed\n"
    archive = tmp_path / "web.tar"
    servers.ok("export", "-o", str(archive), "web")
    servers.ok("import", "-q", "-c", 'CMD ["cat", "/etc/motd"]', str(archive), "imported")
    assert servers.ok("run", "--rm", "--network", "none", "imported") == "changed\n"
    configuration = json.loads(servers.ok("inspect", "nginx:2"))[0]["Config"]
    assert configuration["StopSignal"] == "SIGQUIT"
