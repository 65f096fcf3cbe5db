"""Temporary."""


class Log:
    def __init__(self, fd):
        self.fd = fd

    def write(self, s, d):
        if self.fd:
            self.fd.write(d)

    def close(self):
        pass


def open_log(driver, directory, **k):
    return Log(open(directory + "/ctr.log", "ab", buffering=0) if driver != "none" else None)
