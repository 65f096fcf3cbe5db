"""Temporary."""


def resolv_conf(network, servers=(), search=(), options=()):
    return open("/etc/resolv.conf").read()


def hosts(network, names=(), extra=()):
    return "127.0.0.1 localhost\n"
