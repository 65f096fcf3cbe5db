"""The system call policy that a container gets unless told otherwise: equal in effect to podman's and docker's.

What is not named does not exist (ENOSYS), so that programs fall back; what is named but needs a capability that the
container lacks is not permitted (EPERM).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ALLOWED = """
_llseek _newselect accept accept4 access adjtimex alarm bind brk capget capset chdir chmod chown chown32 clock_adjtime
clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64
clone clone3 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group
faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32
fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsconfig fsetxattr fsmount fsopen fspick
fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_time64 futimesat get_mempolicy
get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32
getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32
getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr
inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_setup io_submit
ioctl ioprio_get ioprio_set ipc keyctl kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown
lchown32 lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise mbind
membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mount
mount_setattr move_mount mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
mq_timedsend_time64 mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at
nanosleep newfstatat open open_tree openat openat2 pause pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2
pivot_root pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64
process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read
readahead readlink readlinkat readv reboot recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_mempolicy
set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
setgroups32 setitimer setns setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32
setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown
sigaltstack signal signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64
statx symlink symlinkat sync sync_file_range syncfs sysinfo syslog tee tgkill time timer_create timer_delete
timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask umount umount2
uname unlink unlinkat unshare utime utimensat utimensat_time64 utimes vfork wait4 waitid waitpid write writev
""".split()

_FORBIDDEN = """
bdflush cachestat futex_requeue futex_wait futex_waitv futex_wake io_pgetevents io_pgetevents_time64 kexec_file_load
kexec_load map_shadow_stack migrate_pages move_pages nfsservctl nice oldfstat oldlstat oldolduname oldstat olduname
pciconfig_iobase pciconfig_read pciconfig_write sgetmask ssetmask swapoff swapon syscall sysfs uselib userfaultfd
ustat vm86 vm86old vmsplice
""".split()

_BY_CAPABILITY = {
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_SYS_ADMIN": (
        *("fanotify_init", "lookup_dcookie", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns"),
    ),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module", "query_module"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": ("kcmp", "process_madvise"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_settime", "clock_settime64", "settimeofday", "stime"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
}
"""What a capability permits, and its lack forbids."""

_BY_MACHINE = {
    "x86_64": ("arch_prctl", "modify_ldt"),
    "i686": ("modify_ldt",),
    "aarch64": (
        *("arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2"),
    ),
    "armv7l": (
        *("arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2"),
    ),
    "ppc64le": ("sync_file_range2", "swapcontext"),
    "s390x": ("s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr"),
    "riscv64": ("riscv_flush_icache",),
}
_ALSO_RUNS = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "s390x": ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
}

_PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Those that change nothing or only what uname(2) says, and the one that asks (personality(2))."""

_AF_NETLINK, _NETLINK_AUDIT, _EINVAL, _EPERM, _ENOSYS = 16, 9, 22, 1, 38


def default_profile(capabilities: frozenset[str], machine: str) -> dict[str, Any]:
    """The linux.seccomp object for a container with these capabilities on `machine`, as uname(2) names it."""
    allowed = [*_ALLOWED, *_BY_MACHINE.get(machine, ())]
    forbidden = list(_FORBIDDEN)
    for capability, names in _BY_CAPABILITY.items():
        (allowed if capability in capabilities else forbidden).extend(names)
    if "CAP_SYS_ADMIN" in capabilities or "CAP_BPF" in capabilities:
        allowed.append("bpf")
    else:
        forbidden.append("bpf")
    if "CAP_PERFMON" in capabilities:
        allowed.append("perf_event_open")
    elif "CAP_SYS_ADMIN" not in capabilities:
        forbidden.append("perf_event_open")
    rules = [_rule(allowed), _rule(forbidden, errno=_EPERM)]
    rules += [_rule(["personality"], (0, "EQ", value)) for value in _PERSONALITIES]
    if "CAP_AUDIT_WRITE" in capabilities:
        rules.append(_rule(["socket"]))
    else:
        audit = ((0, "EQ", _AF_NETLINK), (2, "EQ", _NETLINK_AUDIT))
        rules.append(_rule(["socket"], *audit, errno=_EINVAL))
        rules += [_rule(["socket"], (index, "NE", value)) for index, _operator, value in audit]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _ENOSYS,
        "architectures": list(_ALSO_RUNS.get(machine, ())),
        "syscalls": rules,
    }


def _rule(names: list[str], *conditions: tuple[int, str, int], errno: int | None = None) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names, "action": "SCMP_ACT_ALLOW" if errno is None else "SCMP_ACT_ERRNO"}
    if errno is not None:
        rule["errnoRet"] = errno
    if conditions:
        rule["args"] = [
            {"index": index, "value": value, "op": f"SCMP_CMP_{operator}"} for index, operator, value in conditions
        ]
    return rule
