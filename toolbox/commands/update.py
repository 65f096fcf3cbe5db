"""`ptb update`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.container_options import (
        OneContainer,
        UpdateRestart,
    )
    from toolbox.run_options import (
        BlkioWeight,
        BlkioWeightDevices,
        CpuPeriod,
        CpuQuota,
        CpuRtPeriod,
        CpuRtRuntime,
        Cpus,
        CpusetCpus,
        CpusetMems,
        CpuShares,
        DeviceReadBps,
        DeviceReadIops,
        DeviceWriteBps,
        DeviceWriteIops,
        Memory,
        MemoryReservation,
        MemorySwap,
        MemorySwappiness,
        PidsLimit,
    )


def update(
    name: OneContainer,
    *,
    memory: Memory = "",
    memory_reservation: MemoryReservation = "",
    memory_swap: MemorySwap = "",
    memory_swappiness: MemorySwappiness = "",
    cpus: Cpus = "",
    cpu_period: CpuPeriod = "",
    cpu_quota: CpuQuota = "",
    cpu_rt_period: CpuRtPeriod = "",
    cpu_rt_runtime: CpuRtRuntime = "",
    cpu_shares: CpuShares = "",
    cpuset_cpus: CpusetCpus = "",
    cpuset_mems: CpusetMems = "",
    pids_limit: PidsLimit = "",
    blkio_weight: BlkioWeight = "",
    blkio_weight_device: BlkioWeightDevices = None,
    device_read_bps: DeviceReadBps = None,
    device_read_iops: DeviceReadIops = None,
    device_write_bps: DeviceWriteBps = None,
    device_write_iops: DeviceWriteIops = None,
    restart: UpdateRestart = "",
) -> int:
    """Change a container's limits, running or not."""
    from toolbox.containers import update

    return update.update(
        name,
        memory=memory,
        memory_reservation=memory_reservation,
        memory_swap=memory_swap,
        memory_swappiness=memory_swappiness,
        cpus=cpus,
        cpu_period=cpu_period,
        cpu_quota=cpu_quota,
        cpu_rt_period=cpu_rt_period,
        cpu_rt_runtime=cpu_rt_runtime,
        cpu_shares=cpu_shares,
        cpuset_cpus=cpuset_cpus,
        cpuset_mems=cpuset_mems,
        pids_limit=pids_limit,
        blkio_weight=blkio_weight,
        blkio_weight_device=blkio_weight_device,
        device_read_bps=device_read_bps,
        device_read_iops=device_read_iops,
        device_write_bps=device_write_bps,
        device_write_iops=device_write_iops,
        restart=restart,
    )
