"""The vocabulary of options of `run` and `create`, as docker and podman spell them. A door to Typer, like options.py."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from toolbox.options import SWITCH, Completes


def _option(names: str, metavar: str | None, text: str) -> Any:
    return typer.Option(*names.split(), metavar=metavar, help=text, show_default=False)


_FILES = Completes("files")
AddHosts = Annotated[
    list[str] | None, _option("--add-host", "NAME:IP", "Add a line to /etc/hosts; the address may be host-gateway.")
]
Annotations = Annotated[list[str] | None, _option("--annotation", "KEY=VALUE", "Give the container an OCI annotation.")]
Arch = Annotated[str, _option("--arch", "ARCH", "Pull for this architecture.")]
AttachTo = Annotated[list[str] | None, _option("--attach -a", "stdin,stdout,stderr", "Attach only these streams.")]
AuthFileForPull = Annotated[str, _option("--authfile", "FILE", "Read the registry's credentials from FILE."), _FILES]
BlkioWeight = Annotated[str, _option("--blkio-weight", "WEIGHT", "Relative weight of block I/O, 10 to 1000.")]
BlkioWeightDevices = Annotated[
    list[str] | None, _option("--blkio-weight-device", "DEVICE:WEIGHT", "Relative weight of block I/O on a device.")
]
CapAdd = Annotated[
    list[str] | None, _option("--cap-add", "CAP", "Add a capability, or ALL."), Completes("capabilities")
]
CapDrop = Annotated[
    list[str] | None, _option("--cap-drop", "CAP", "Drop a capability, or ALL."), Completes("capabilities")
]
CgroupConf = Annotated[
    list[str] | None, _option("--cgroup-conf", "FILE=VALUE", "Write to a file of the container's cgroup.")
]
CgroupParent = Annotated[
    str, _option("--cgroup-parent", "SLICE", "The slice or cgroup the container's own is made in.")
]
CgroupNamespace = Annotated[
    str,
    _option("--cgroupns", "MODE", "Cgroup namespace: private, host, container:NAME or ns:PATH."),
    Completes("words", ("private", "host")),
]
Cgroups = Annotated[
    str,
    _option("--cgroups", "enabled,disabled", "Whether the container has a cgroup of its own."),
    Completes("words", ("enabled", "disabled", "no-conmon")),
]
CidFile = Annotated[str, _option("--cidfile", "FILE", "Write the container's id to FILE."), _FILES]
MonitorPidFile = Annotated[
    str, _option("--conmon-pidfile", "FILE", "Write the pid of the container's monitor to FILE."), _FILES
]
CpuPeriod = Annotated[str, _option("--cpu-period", "MICROSECONDS", "Length of a CPU period.")]
CpuQuota = Annotated[str, _option("--cpu-quota", "MICROSECONDS", "CPU time in a period.")]
CpuRtPeriod = Annotated[str, _option("--cpu-rt-period", "MICROSECONDS", "Length of a real-time period.")]
CpuRtRuntime = Annotated[str, _option("--cpu-rt-runtime", "MICROSECONDS", "Real-time CPU time in a period.")]
CpuShares = Annotated[str, _option("--cpu-shares -c", "SHARES", "Relative share of the CPUs, 1024 by default.")]
Cpus = Annotated[str, _option("--cpus", "NUMBER", "How many CPUs the container may use.")]
CpusetCpus = Annotated[str, _option("--cpuset-cpus", "LIST", "The CPUs the container may use: 0-3,7.")]
CpusetMems = Annotated[str, _option("--cpuset-mems", "LIST", "The memory nodes the container may use.")]
Detach = Annotated[bool, _option("--detach -d", None, "Leave the container to itself and print its id.")]
DetachKeys = Annotated[
    str, _option("--detach-keys", "KEYS", 'Keys that detach, ctrl-p,ctrl-q by default; "" for none.')
]
Devices = Annotated[
    list[str] | None,
    _option("--device", "HOST[:CONTAINER[:rwm]]", "Give the container a device of the host's."),
    _FILES,
]
DeviceCgroupRules = Annotated[
    list[str] | None, _option("--device-cgroup-rule", "RULE", "Allow devices by a cgroup rule (root only).")
]
DeviceReadBps = Annotated[
    list[str] | None, _option("--device-read-bps", "DEVICE:BYTES", "Bytes a second that may be read from a device.")
]
DeviceReadIops = Annotated[
    list[str] | None, _option("--device-read-iops", "DEVICE:NUMBER", "Reads a second from a device.")
]
DeviceWriteBps = Annotated[
    list[str] | None, _option("--device-write-bps", "DEVICE:BYTES", "Bytes a second that may be written to a device.")
]
DeviceWriteIops = Annotated[
    list[str] | None, _option("--device-write-iops", "DEVICE:NUMBER", "Writes a second to a device.")
]
Dns = Annotated[list[str] | None, _option("--dns", "IP", "A name server; none writes no /etc/resolv.conf.")]
DnsOptions = Annotated[list[str] | None, _option("--dns-option --dns-opt", "OPTION", "An option for /etc/resolv.conf.")]
DnsSearch = Annotated[list[str] | None, _option("--dns-search", "DOMAIN", "A search domain; . for none.")]
Entrypoint = Annotated[
    str | None, _option("--entrypoint", "COMMAND", "Replace the image's entry point; a JSON list for several words.")
]
Environment = Annotated[
    list[str] | None, _option("--env -e", "NAME[=VALUE]", "Set a variable, or pass on the caller's.")
]
EnvironmentFiles = Annotated[list[str] | None, _option("--env-file", "FILE", "Read variables from FILE."), _FILES]
EnvironmentOfHost = Annotated[bool, _option("--env-host", None, "Pass on all of the caller's variables.")]
Expose = Annotated[
    list[str] | None, _option("--expose", "PORT[/PROTOCOL]", "Ports that --publish-all publishes besides the image's.")
]
GidMap = Annotated[list[str] | None, _option("--gidmap", "CONTAINER:HOST[:SIZE]", "Map group ids.")]
GroupAdd = Annotated[
    list[str] | None,
    _option("--group-add", "GROUP", "Another group for the process; keep-groups for the caller's own."),
]
HealthCommand = Annotated[
    str | None, _option("--health-cmd", "COMMAND", "What tells whether the container is healthy; none for nothing.")
]
HealthInterval = Annotated[str, _option("--health-interval", "DURATION", "Time between checks, 30s by default.")]
HealthOnFailure = Annotated[
    str,
    _option("--health-on-failure", "ACTION", "What is done with an unhealthy container."),
    Completes("words", ("none", "kill", "restart", "stop")),
]
HealthRetries = Annotated[
    str, _option("--health-retries", "NUMBER", "Failures in a row that make it unhealthy, 3 by default.")
]
HealthStartPeriod = Annotated[
    str, _option("--health-start-period", "DURATION", "Time at the start in which failures do not count.")
]
HealthStartupCommand = Annotated[
    str, _option("--health-startup-cmd", "COMMAND", "What is checked first, until it succeeds.")
]
HealthStartupInterval = Annotated[str, _option("--health-startup-interval", "DURATION", "Time between those checks.")]
HealthStartupRetries = Annotated[
    str, _option("--health-startup-retries", "NUMBER", "Failures after which the container is restarted.")
]
HealthStartupSuccess = Annotated[
    str, _option("--health-startup-success", "NUMBER", "Successes in a row that end them.")
]
HealthStartupTimeout = Annotated[
    str, _option("--health-startup-timeout", "DURATION", "How long such a check may take.")
]
HealthTimeout = Annotated[str, _option("--health-timeout", "DURATION", "How long a check may take, 30s by default.")]
Hostname = Annotated[str, _option("--hostname -h", "NAME", "The container's host name; its id by default.")]
HttpProxy = Annotated[
    str, _option("--http-proxy", "true,false", "Pass on the proxy variables, true by default."), SWITCH
]
ImageVolumes = Annotated[
    str,
    _option("--image-volume", "MODE", "What becomes of the image's volumes: anonymous, tmpfs or ignore."),
    Completes("words", ("anonymous", "bind", "tmpfs", "ignore")),
]
Init = Annotated[bool, _option("--init", None, "Run an init as PID 1 that reaps orphans and passes signals on.")]
InitPath = Annotated[str, _option("--init-path", "PATH", "Accepted: the init is ptb's own.")]
Interactive = Annotated[bool, _option("--interactive -i", None, "Keep standard input open.")]
Ip = Annotated[str, _option("--ip", "ADDRESS", "The container's address; needs a network with a name.")]
Ip6 = Annotated[str, _option("--ip6", "ADDRESS", "The container's IPv6 address; needs a network with a name.")]
IpcNamespace = Annotated[
    str,
    _option("--ipc", "MODE", "IPC namespace: private, shareable, none, host, container:NAME or ns:PATH."),
    Completes("words", ("private", "shareable", "none", "host")),
]
Labels = Annotated[list[str] | None, _option("--label -l", "KEY=VALUE", "Give the container a label.")]
LabelFiles = Annotated[list[str] | None, _option("--label-file", "FILE", "Read labels from FILE."), _FILES]
LogDriver = Annotated[
    str,
    _option("--log-driver", "DRIVER", "Where the output is kept."),
    Completes("words", ("k8s-file", "json-file", "journald", "none")),
]
LogOptions = Annotated[list[str] | None, _option("--log-opt", "NAME=VALUE", "max-size, max-file, tag or path.")]
MacAddress = Annotated[
    str, _option("--mac-address", "ADDRESS", "The container's hardware address; needs a network with a name.")
]
Memory = Annotated[str, _option("--memory -m", "SIZE", "Limit of memory.")]
MemoryReservation = Annotated[
    str, _option("--memory-reservation", "SIZE", "Memory that is kept for the container when it is short.")
]
MemorySwap = Annotated[str, _option("--memory-swap", "SIZE", "Limit of memory and swap together; -1 for none.")]
MemorySwappiness = Annotated[
    str, _option("--memory-swappiness", "0-100", "How readily memory is swapped (cgroup version 1 only).")
]
MountOptions = Annotated[
    list[str] | None, _option("--mount", "type=TYPE,…", "Mount something: bind, volume, tmpfs, image or devpts.")
]
ContainerName = Annotated[str, _option("--name", "NAME", "The container's name.")]
NetworkOption = Annotated[
    list[str] | None,
    _option(
        "--network --net", "MODE", "slirp4netns[:OPTIONS], pasta[:OPTIONS], host, none, container:NAME or ns:PATH."
    ),
    Completes("words", ("slirp4netns", "pasta", "host", "none")),
]
NetworkAlias = Annotated[
    list[str] | None, _option("--network-alias", "NAME", "Another name on the network; needs a network with a name.")
]
NoHealthcheck = Annotated[bool, _option("--no-healthcheck", None, "Do without the image's health check.")]
NoHosts = Annotated[bool, _option("--no-hosts", None, "Leave the image's /etc/hosts.")]
OomKillDisable = Annotated[
    bool, _option("--oom-kill-disable", None, "Let processes wait when memory runs out (cgroup version 1 only).")
]
OomScoreAdjust = Annotated[
    str, _option("--oom-score-adj", "-1000-1000", "How readily the kernel kills the container for want of memory.")
]
Os = Annotated[str, _option("--os", "OS", "Pull for this operating system.")]
Passwd = Annotated[
    str, _option("--passwd", "true,false", "Add the user to /etc/passwd if need be, true by default."), SWITCH
]
Personality = Annotated[str, _option("--personality", "PERSONA", "The execution domain: LINUX or LINUX32.")]
PidNamespace = Annotated[
    str,
    _option("--pid", "MODE", "PID namespace: private, host, container:NAME or ns:PATH."),
    Completes("words", ("private", "host")),
]
PidFile = Annotated[str, _option("--pidfile", "FILE", "Write the pid of the container's process to FILE."), _FILES]
PidsLimit = Annotated[str, _option("--pids-limit", "NUMBER", "How many processes there may be; -1 for no limit.")]
PlatformForPull = Annotated[str, _option("--platform", "OS/ARCH[/VARIANT]", "Pull for this platform.")]
Pod = Annotated[str, _option("--pod", "POD", "Not there yet: pods are refused by name.")]
PreserveFdsNumber = Annotated[int, _option("--preserve-fds", "N", "How many descriptors from 3 on the process gets.")]
Privileged = Annotated[
    bool, _option("--privileged", None, "All capabilities, no filters, no masks: over what is the caller's own.")
]
Publish = Annotated[list[str] | None, _option("--publish -p", "[[IP:]HOST:]CONTAINER[/PROTOCOL]", "Publish a port.")]
PublishAll = Annotated[bool, _option("--publish-all -P", None, "Publish every exposed port on a free one.")]
PullPolicyForRun = Annotated[
    str,
    _option("--pull", "POLICY", "When to ask the registry."),
    Completes("words", ("always", "missing", "never", "newer")),
]
QuietRun = Annotated[bool, _option("--quiet -q", None, "Do not show the progress of a pull.")]
ReadOnly = Annotated[bool, _option("--read-only", None, "Make the root file system read-only.")]
ReadOnlyTmpfs = Annotated[
    str,
    _option(
        "--read-only-tmpfs",
        "true,false",
        "With --read-only, writable /run, /tmp and /var/tmp in memory; true by default.",
    ),
    SWITCH,
]
Replace = Annotated[bool, _option("--replace", None, "Remove a container of the same name first.")]
RestartPolicy = Annotated[
    str,
    _option("--restart", "POLICY", "no, on-failure[:N], always or unless-stopped."),
    Completes("words", ("no", "on-failure", "always", "unless-stopped")),
]
RemoveAfter = Annotated[bool, _option("--rm", None, "Remove the container when it has ended.")]
RemoveImageAfter = Annotated[bool, _option("--rmi", None, "Remove its image as well, if nothing else uses it.")]
RootFs = Annotated[bool, _option("--rootfs", None, "IMAGE is a directory with a root file system.")]
OciRuntime = Annotated[
    str,
    _option("--runtime", "NAME", "The OCI runtime: ptb's own, crun, runc or a path."),
    Completes("words", ("ptb", "crun", "runc")),
]
SdNotify = Annotated[
    str,
    _option("--sdnotify", "MODE", "Who tells systemd of being ready: container, conmon, healthy or ignore."),
    Completes("words", ("container", "conmon", "healthy", "ignore")),
]
Secrets = Annotated[
    list[str] | None, _option("--secret", "NAME[,OPTION=…]", "Give the container a secret, as a file or a variable.")
]
SecurityOptions = Annotated[
    list[str] | None,
    _option("--security-opt", "OPTION", "no-new-privileges, seccomp=, apparmor=, label=, mask=, unmask=."),
]
ShmSize = Annotated[str, _option("--shm-size", "SIZE", "Size of /dev/shm, 64m by default.")]
SigProxy = Annotated[
    str, _option("--sig-proxy", "true,false", "Pass signals on to the container, true by default."), SWITCH
]
StopSignal = Annotated[
    str, _option("--stop-signal", "SIGNAL", "The signal that stops the container."), Completes("signals")
]
StopTimeout = Annotated[
    str, _option("--stop-timeout", "SECONDS", "How long it has to end before it is killed, 10 by default.")
]
Sysctls = Annotated[
    list[str] | None, _option("--sysctl", "NAME=VALUE", "A kernel parameter of the container's namespaces.")
]
Systemd = Annotated[
    str,
    _option("--systemd", "true,false,always", "Whether to prepare the container for systemd as PID 1."),
    Completes("words", ("true", "false", "always")),
]
Timeout = Annotated[str, _option("--timeout", "SECONDS", "Kill the container after this time.")]
Tmpfs = Annotated[list[str] | None, _option("--tmpfs", "PATH[:OPTIONS]", "Mount a file system in memory.")]
Tty = Annotated[bool, _option("--tty -t", None, "Give the container a terminal.")]
TimeZone = Annotated[str, _option("--tz", "ZONE", "The time zone; local for the host's.")]
UidMap = Annotated[list[str] | None, _option("--uidmap", "CONTAINER:HOST[:SIZE]", "Map user ids.")]
Ulimits = Annotated[
    list[str] | None, _option("--ulimit", "NAME=SOFT[:HARD]", "Set a limit; host for all of the caller's.")
]
Umask = Annotated[str, _option("--umask", "MODE", "The process's umask, 0022 by default.")]
UnsetEnvironment = Annotated[list[str] | None, _option("--unsetenv", "NAME", "Leave out a default variable.")]
UnsetAllEnvironment = Annotated[bool, _option("--unsetenv-all", None, "Leave out all default variables.")]
User = Annotated[str, _option("--user -u", "USER[:GROUP]", "Who the process runs as."), Completes("users")]
UserNamespace = Annotated[
    str,
    _option("--userns", "MODE", "host, keep-id[:uid=N,gid=N], nomap or auto."),
    Completes("words", ("host", "keep-id", "nomap", "auto")),
]
UtsNamespace = Annotated[
    str,
    _option("--uts", "MODE", "UTS namespace: private, host, container:NAME or ns:PATH."),
    Completes("words", ("private", "host")),
]
Variant = Annotated[str, _option("--variant", "VARIANT", "Pull for this variant of the architecture.")]
VolumeOptions = Annotated[
    list[str] | None,
    _option("--volume -v", "[SOURCE:]TARGET[:OPTIONS]", "Mount a directory of the host's or a volume."),
    Completes("volumes"),
]
VolumesFrom = Annotated[
    list[str] | None,
    _option("--volumes-from", "CONTAINER[:OPTIONS]", "Mount what another container has."),
    Completes("containers"),
]
WorkDirectory = Annotated[str, _option("--workdir -w", "DIR", "The process's working directory.")]
