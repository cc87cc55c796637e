# SPDX-License-Identifier: Apache-2.0
"""A system of its own to install into: this system, or a clean one, as the lower layer of an overlay, and a chroot in
it. Nothing is downloaded or copied for the first, and the upper layer holds all that changed."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(SKIPPED)


def enter_mount_namespace():
    """Starts this script again where its mounts are seen by nobody else and end with it. Returns why that is impossible,
    else an empty text."""
    if os.geteuid() != 0:
        return "a chroot needs root"
    if os.environ.get("TRAINERD_OWN_MOUNTS") == "1":
        return ""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        return "this machine allows no mount namespace (unshare -m)"
    os.environ["TRAINERD_OWN_MOUNTS"] = "1"
    os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv])


class Chroot:
    """`lower`: the folder of the system. Use as a context; `root` is its root seen from here."""

    def __init__(self, lower="/"):
        self.lower = lower
        self.layers = tempfile.mkdtemp(prefix="trainerd-chroot-")
        self.root = os.path.join(self.layers, "root")
        self.upper = os.path.join(self.layers, "disk", "upper")

    def __enter__(self):
        disk = os.path.join(self.layers, "disk")
        os.mkdir(disk)
        os.mkdir(self.root)
        # The overlay needs an upper layer that is no part of the lower one.
        self._mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", disk)
        os.mkdir(self.upper)
        os.mkdir(os.path.join(disk, "work"))
        self._mount("-t", "overlay", "overlay", "-o",
                    f"lowerdir={self.lower},upperdir={self.upper},workdir={disk}/work", self.root)
        self._mount("-t", "proc", "proc", self.root + "/proc")
        self._mount("--rbind", "/dev", self.root + "/dev")
        self._mount("-t", "tmpfs", "tmpfs", self.root + "/tmp")
        return self

    def __exit__(self, *unused):
        subprocess.run(["umount", "-R", "-l", self.root], check=False)
        subprocess.run(["umount", "-l", os.path.join(self.layers, "disk")], check=False)
        shutil.rmtree(self.layers, ignore_errors=True)

    def _mount(self, *arguments):
        mounted = subprocess.run(["mount", *arguments], capture_output=True, text=True)
        if mounted.returncode != 0:
            self.__exit__()
            skip(f"cannot mount {arguments[-1]} here: {mounted.stderr.strip()}")

    def path(self, inside):
        return self.root + inside

    def command(self, *words, user=None, environment=None):
        """The words of a command in the chroot, with no variable of this machine."""
        variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
                     "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **(environment or {})}
        spec = [] if user is None else [f"--userspec={user}"]
        return ["chroot", *spec, self.root, "env", "-i", *(f"{key}={value}" for key, value in variables.items()), *words]

    def run(self, *words, check=True, **how):
        done = subprocess.run(self.command(*words, **how), capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: exit code {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def changed(self):
        """Paths of the files that differ from the lower system, and of its new folders. A deleted file counts."""
        found = set()
        for folder, folders, files in os.walk(self.upper):
            inside = folder[len(self.upper):]
            found.update(f"{inside}/{name}" for name in files)
            found.update(f"{inside}/{name}" for name in folders if not os.path.lexists(f"{self.lower}/{inside}/{name}"))
            found.update(f"{inside}/{name}" for name in folders if os.path.islink(os.path.join(folder, name)))
        return found

    def processes(self):
        """(pid, program) of what runs in the chroot."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.path.samefile(f"/proc/{name}/root/", self.root):
                    found.append((int(name), os.readlink(f"/proc/{name}/exe")))
        return found
