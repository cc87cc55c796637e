#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the Debian packages from the programs of a build tree and installs, upgrades, removes and purges them in a
chroot, with a job that runs meanwhile.

    debian_test.py BUILD_DIR TORCH_LIB [--clean FOLDER]

The chroot is an overlay over this system. --clean takes the system in FOLDER (tests/deploy/base_system.sh makes one)
and lets apt install what the packages depend on. Exit code 77: this machine cannot do that; the reason is printed."""

import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import chroot
import fake_jobs
import harness

# What dpkg, apt and useradd themselves leave.
BOOKKEEPING = re.compile(r"^/(var/lib/(dpkg|apt)/|var/log/|var/cache/(apt|debconf|ldconfig|man)(/|$)|run/"
                         r"|etc/(passwd|shadow|group|gshadow|subuid|subgid)-?$|etc/\.pwd\.lock$|etc/ld\.so\.cache)")
STATE = "/var/lib/trainerd"
NOTIFY_SOCKET = "/run/trainerd-notify"
OUR_PACKAGES = ["trainerd", "trainerd-worker", "trainctl"]


def require(condition, text):
    if not condition:
        raise AssertionError(text)


# ---------------------------------------------------------------- the packages
def make_packages(build, folder):
    for tool in ("cpack", "dpkg-deb", "dpkg-shlibdeps", "file", "patchelf"):
        if shutil.which(tool) is None:
            chroot.skip(f"{tool} is not installed (Debian: cmake, dpkg-dev, file, patchelf)")
    for name in ("trainerd", "trainctl", "trainerd-shim", "trainerd-notify", "trainerd-inspect", "trainerd-worker"):
        if not os.path.exists(os.path.join(build, "bin", name)):
            chroot.skip(f"{build}/bin/{name} is not built")
    # gzip saves 5 s.
    made = subprocess.run(["cpack", "--config", os.path.join(build, "CPackConfig.cmake"), "-B", folder,
                           "-D", "CPACK_DEBIAN_COMPRESSION_TYPE=gzip"], capture_output=True, text=True)
    require(made.returncode == 0, f"cpack: {made.stdout}{made.stderr}")
    packages = {}
    for path in glob.glob(os.path.join(folder, "*.deb")):
        packages[os.path.basename(path).split("_")[0]] = path
    require(sorted(packages) == sorted(OUR_PACKAGES), f"cpack made {sorted(packages)}")
    return packages


def field(path, name):
    return subprocess.run(["dpkg-deb", "-f", path, name], capture_output=True, text=True, check=True).stdout.strip()


def check_contents(packages):
    depends = {name: field(path, "Depends") for name, path in packages.items()}
    for name, library in (("trainerd", "libgrpc++"), ("trainerd", "libsqlite3"), ("trainctl", "libgrpc++"),
                          ("trainerd-worker", "libprotobuf")):
        require(library in depends[name], f"{name} depends on {depends[name]}, without {library}")
    require("torch" not in " ".join(depends.values()), f"a package depends on LibTorch: {depends}")
    require("trainctl (=" in depends["trainerd"], f"trainerd depends on {depends['trainerd']}")
    for name, path in packages.items():
        listed = subprocess.run(["dpkg-deb", "-c", path], capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines():
            mode, owner, inside = line.split()[0], line.split()[1], line.split()[5][1:]
            require(owner == "root/root", f"{name}: {inside} is owned by {owner}")
            require(mode[0] == "l" or mode[8] != "w" and mode[5] != "w" and mode[7] == "r", f"{name}: {inside} has mode {mode}")
            require(inside.startswith(("/usr/lib/", "/usr/bin/", "/usr/share/")) or inside.endswith("/"), f"{name} has {inside}")
        print(f"{name}: {os.path.getsize(path) / 1e6:.1f} MB, {len(listed.splitlines())} files and folders")


# ---------------------------------------------------------------- the system
class Installed:
    """The packages in a chroot, and the daemon as the unit starts it."""

    def __init__(self, system, packages, clean):
        self.system = system
        self.clean = clean
        self.daemon = None
        os.makedirs(system.path("/tmp/packages"))
        self.files = []
        for path in packages.values():
            shutil.copy(path, system.path("/tmp/packages"))
            self.files.append("/tmp/packages/" + os.path.basename(path))

    def install(self):
        if self.clean:
            self.system.run("apt-get", "update", "-q")
            self.system.run("apt-get", "install", "-q", "-y", "--no-install-recommends", "--reinstall", *self.files)
        else:
            self.system.run("dpkg", "-i", *self.files)

    def user(self):
        """(uid, gid) of the service's user; None if there is none."""
        with open(self.system.path("/etc/passwd")) as file:
            for line in file:
                words = line.split(":")
                if words[0] == "trainerd":
                    return int(words[2]), int(words[3])
        return None

    def unit(self):
        with open(self.system.path("/usr/lib/systemd/system/trainerd.service")) as file:
            pairs = [line.strip().split("=", 1) for line in file if "=" in line and line[0] not in "#["]
        require(len(pairs) > 10, f"the unit has {pairs}")
        return pairs

    def service_command(self):
        settings = dict(self.unit())
        require(settings["KillMode"] == "process" and settings["Delegate"] == "yes" and settings["User"] == "trainerd",
                f"the unit is {settings}")
        variables = dict(value.split("=", 1) for key, value in self.unit() if key == "Environment")
        uid, gid = self.user()
        require(settings["Type"] == "notify", f"the unit is {settings}")
        watchdog = {"WATCHDOG_USEC": str(int(settings["WatchdogSec"]) * 1000000)}
        return self.system.command(*settings["ExecStart"].split(), user=f"{uid}:{gid}",
                                   environment={"HOME": STATE, "NOTIFY_SOCKET": NOTIFY_SOCKET, **watchdog, **variables})

    def start(self):
        """As systemd does with Type=notify: the service has started when it reports that."""
        path = self.system.path(NOTIFY_SOCKET)
        if os.path.exists(path):
            os.remove(path)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(path)
        os.chmod(path, 0o777)
        self.notify.settimeout(1)
        self.daemon = subprocess.Popen(self.service_command(), stdin=subprocess.DEVNULL, start_new_session=True)
        self.wait_notified("READY=1")
        require(self.ctl("health").stdout == "serving\n", "the daemon is ready, but not healthy")

    def wait_notified(self, word):
        def notified():
            require(self.daemon.poll() is None, f"trainerd exited with {self.daemon.returncode}")
            try:
                return word in self.notify.recv(4096).decode().splitlines()
            except TimeoutError:
                return False
        harness.wait_for(notified, word)

    def stop(self):
        """As systemd does with KillMode=process."""
        self.daemon.terminate()
        require(self.daemon.wait(60) == 0, f"trainerd exited with {self.daemon.returncode}")
        self.notify.close()

    def ctl(self, *words, check=True):
        uid, gid = self.user()
        return self.system.run("trainctl", *words, check=check, user=f"{uid}:{gid}",
                               environment={"XDG_STATE_HOME": "/var/lib"})

    def job(self, name):
        return json.loads(self.ctl("get", name, "-o", "json").stdout)

    def wait_step(self, name, step, attempt):
        def there():
            job = self.job(name)
            require(job["state"] in ("QUEUED", "STARTING", "RUNNING"), f"{name}: {job}")
            return job if int(job.get("progress", {}).get("step", 0)) >= step else None
        job = harness.wait_for(there, f"step {step} of {name}")
        require(job["attempt"] == attempt, f"{name} is in attempt {job['attempt']}, not {attempt}")
        return int(job["progress"]["step"])

    def run_dir(self, name):
        return self.system.path(f"{STATE}/runs/{name.split('/')[-1]}")

    def shims(self):
        return [pid for pid, program in self.system.processes() if program.removesuffix(" (deleted)").endswith("/trainerd-shim")]


def check_unit(system):
    """systemd's own check of the installed unit."""
    if not os.path.exists(system.path("/usr/bin/systemd-analyze")):
        print("systemd-analyze verify was skipped: it is not installed (Debian: systemd)")
        return
    done = system.run("systemd-analyze", "verify", "--man=no", "/usr/lib/systemd/system/trainerd.service", check=False)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "trainerd" in line]
    require(done.returncode == 0 and not ours, f"systemd-analyze verify: exit code {done.returncode}: {ours or done.stderr}")
    print("systemd-analyze verify finds nothing in trainerd.service")


def check_installed(installed, torch):
    system = installed.system
    uid, _ = installed.user()
    state = os.stat(system.path(STATE))
    require((state.st_uid, state.st_mode & 0o7777) == (uid, 0o700), f"{STATE}: {state}")
    for name in ("trainctl", "trainerd", "trainerd-inspect"):
        system.run(name, "--help")
    enabled = "/etc/systemd/system/multi-user.target.wants/trainerd.service"
    require(os.path.islink(system.path(enabled)), f"the service is not enabled: no {enabled}")
    for page in ("man1/trainctl.1", "man5/trainerd.yaml.5", "man8/trainerd.8"):
        text = system.run("zcat", f"/usr/share/man/{page}.gz").stdout
        require(text.count("\n.SH ") >= 3, f"{page} is {text[:200]}")
    for script in ("bash-completion/completions/trainctl", "zsh/vendor-completions/_trainctl", "fish/vendor_completions.d/trainctl.fish"):
        require("trainctl" in system.run("cat", f"/usr/share/{script}").stdout, f"{script} is empty")
    check_unit(system)
    refused = system.run("trainerd-worker", "devices", check=False, environment={"TRAINERD_TORCH_LIB": "/nonexistent"})
    require(refused.returncode != 0 and "libtorch_cpu.so is not in" in refused.stderr, f"without LibTorch: {refused}")
    if os.path.exists(system.path(torch)):
        found = system.run("trainerd-worker", "devices", environment={"TRAINERD_TORCH_LIB": torch})
        require('"cpu"' in found.stdout, f"trainerd-worker devices printed {found.stdout}")


def write_job(system):
    """A job that runs until it is stopped, and the settings that make the daemon run it with the fake worker."""
    folder = system.path("/opt/fake")
    os.makedirs(folder)
    shutil.copy(harness.FAKE_WORKER, folder)
    job = fake_jobs.write_job(folder, steps=1000000, step_ms=5, every=20)
    with open(job) as file:
        text = file.read().replace(system.root, "")
    with open(job, "w") as file:
        file.write(text)
    with open(system.path("/etc/trainerd/trainerd.yaml"), "a") as file:
        file.write("worker_path: /opt/fake/fake_worker\nretry_backoff: 0s\n")
    return job[len(system.root):]


def names_of(path):
    """A path with /usr in front and without: dpkg's lists have either."""
    return {path, path.removeprefix("/usr")}


def check_removed(installed, before):
    system = installed.system
    require(system.processes() == [], f"still running: {system.processes()}")
    require(installed.user() is None, "the user trainerd still exists")
    # Of the packages that ours depend on.
    theirs = {line for path in glob.glob(system.path("/var/lib/dpkg/info/*.list")) for line in open(path).read().splitlines()}
    left = {path for path in system.changed() - before
            if not BOOKKEEPING.match(path) and not (path + "/").startswith(STATE + "/") and not theirs & names_of(path)}
    ours = {path for path in system.changed() if re.search(r"/dpkg/info/(trainerd|trainctl)", path)}
    require(not left and not ours, f"left behind: {sorted(left | ours)[:20]}")


def check_life(installed, torch):
    system = installed.system
    before = system.changed()
    installed.install()
    check_installed(installed, torch)
    owner = installed.user()
    job_file = write_job(system)
    before |= {path for path in system.changed() if path.startswith("/opt/")}
    installed.start()
    job = json.loads(installed.ctl("submit", job_file, "--no-validate", "-o", "json").stdout)["name"]
    step = installed.wait_step(job, 30, attempt=1)
    # An upgrade: the packages are unpacked over the running programs, then the service restarts.
    shims = installed.shims()
    require(len(shims) == 1, f"shims: {shims}")
    installed.install()
    installed.stop()
    installed.start()
    step = installed.wait_step(job, step + 30, attempt=1)
    require(installed.shims() == shims, "the upgrade replaced the running attempt")
    # Removal ends the attempt with a checkpoint.
    system.run("dpkg", "-r", *OUR_PACKAGES)
    require(installed.daemon.wait(10) == 0, f"trainerd exited with {installed.daemon.returncode}")
    require(system.processes() == [], f"still running: {system.processes()}")
    require(os.path.exists(system.path("/etc/trainerd/trainerd.yaml")), "remove deleted the settings")
    settings = open(system.path("/etc/trainerd/trainerd.yaml")).read()
    require(os.listdir(installed.run_dir(job) + "/checkpoints"), "the job has no checkpoint")
    system.run("dpkg", "-P", *OUR_PACKAGES)
    check_removed(installed, before)
    # The state that stayed is found again, by a user with the same number.
    installed.install()
    require(installed.user()[0] == owner[0], f"the user {owner} became {installed.user()}")
    with open(system.path("/etc/trainerd/trainerd.yaml"), "w") as file:
        file.write(settings)
    installed.start()
    installed.wait_step(job, step + 1, attempt=2)
    installed.ctl("stop", job, "--force")
    installed.stop()
    system.run("dpkg", "-P", *OUR_PACKAGES)
    check_removed(installed, before)


def main():
    no_chroot = chroot.enter_mount_namespace()
    build, torch = sys.argv[1:3]
    clean = sys.argv[4] if sys.argv[3:4] == ["--clean"] else None
    work = tempfile.mkdtemp(prefix="trainerd-debian-")
    try:
        packages = make_packages(build, work)
        check_contents(packages)
        if no_chroot:
            chroot.skip(f"{no_chroot}; the packages were made and their contents are as expected")
        with chroot.Chroot(clean or "/") as system:
            installed = Installed(system, packages, clean)
            try:
                check_life(installed, torch)
            finally:
                for pid, _ in system.processes():
                    os.kill(pid, signal.SIGKILL)
        print("the packages install, serve, upgrade under a running job, and leave nothing outside of " + STATE)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
