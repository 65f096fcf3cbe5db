# What the guest runs once it is up, as its root: the tests in /mnt/tests, as the account $1 under its own systemd, and
# those that need root under the system's. Reports go to /mnt/report while they are made.

set -f
account=$1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
modprobe -a overlay tun veth bridge fuse nf_tables
chmod 666 /dev/fuse /dev/net/tun
ip link set lo up 2>/dev/null
mkdir -p /checkout && tar -C /checkout -xf /mnt/checkout.tar && chown -R "$account:" /checkout
grep -v '/test_root' /mnt/tests >/run/tests-of-user
grep '/test_root' /mnt/tests >/run/tests-of-root

properties="--wait --pipe --collect --quiet -p Delegate=yes -p WorkingDirectory=/checkout"
pytest="python3 -m pytest -p no:cacheprovider -p tests.desktop.reporting --tb=short -q"
if [ -s /run/tests-of-user ]; then
    # shellcheck disable=SC2086,SC2046 # lists of words
    runuser -u "$account" -- env XDG_RUNTIME_DIR=/run/user/1000 systemd-run --user $properties \
        -E PTB_DESKTOP=user -E PATH -E LANG $pytest $(cat /run/tests-of-user)
fi
if [ -s /run/tests-of-root ]; then
    # shellcheck disable=SC2086,SC2046 # lists of words
    systemd-run $properties -E PTB_DESKTOP=root -E PATH -E LANG -E HOME=/root $pytest $(cat /run/tests-of-root)
fi
