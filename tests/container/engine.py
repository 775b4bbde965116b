"""Container engines without a daemon of their own: buildah and podman as root, with their storage in memory,
mounted on a folder of their own and gone afterwards. They need no systemd, no overlay file system and no network but the machine's.

The base image is made by debootstrap from the machine's own package sources, and the build reaches apt's and
npm's servers as this machine is set up to: its configuration is mounted while it builds and is in no layer.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = "docker.io/library/debian:trixie-slim"
IMAGE = "localhost/denoised-test"
NPMRC = os.path.expanduser("~root/.npmrc")
CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
# What the slim image leaves out; of the documents it keeps the licences.
NOT_SLIM = ("usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "var/cache/apt/archives",
            "var/lib/apt/lists")


class Engine:
    def __init__(self, parent):
        parent.mkdir(parents=True, exist_ok=True)
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=parent))
        # In memory: on a disk the copies of a hundred thousand small files take longer than all the rest.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g", "denoised", str(self.folder)], check=True)
        self.storage = ["--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run"),
                        "--storage-driver", "vfs"]

    def podman(self, *arguments, check=True, **more):
        command = ["podman", *self.storage, "--runtime", "runc", "--cgroup-manager", "cgroupfs", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, **more)
        assert not check or done.returncode == 0, (arguments, done.stderr)
        return done

    def inspect(self, kind, name):
        return json.loads(self.podman(kind, "inspect", name).stdout)[0]

    def make_base(self):
        tree = self.folder / "base"
        subprocess.run(["debootstrap", "--variant=minbase", "trixie", str(tree), debian_mirror()],
                       check=True, stdout=subprocess.DEVNULL)
        for name in NOT_SLIM:
            shutil.rmtree(tree / name)
        for path in (tree / "usr/share/doc").glob("*/*"):
            if path.name != "copyright" and not path.is_dir():
                path.unlink()
        with subprocess.Popen(["tar", "-C", str(tree), "-c", "."], stdout=subprocess.PIPE) as tar:
            self.podman("import", "-", BASE, stdin=tar.stdout)
        shutil.rmtree(tree)

    def build(self, revision):
        (self.folder / "npmrc").write_text(npm_configuration())
        mounts = [f"{CA_FILE}:/run/ca.crt:ro", f"{self.folder}/npmrc:{NPMRC}:ro"]
        mounts += [f"{path}:{path}:ro" for path in apt_configuration()]
        subprocess.run(["buildah", *self.storage, "bud", "--isolation", "chroot", "--pull-never",
                        "--network", "host", "--format", "docker", "--layers=false", *LIMITS[:2],
                        *(f"--volume={mount}" for mount in mounts),
                        "--build-arg", f"REVISION={revision}", "-t", IMAGE, str(ROOT)],
                       check=True, stdout=subprocess.DEVNULL)

    def close(self):
        """Remove every container and image, and all that was stored."""
        self.podman("rm", "--all", "--force", "--time", "0")
        self.podman("image", "umount", "--all", check=False)
        subprocess.run(["umount", "--recursive", str(self.folder)], check=True)
        self.folder.rmdir()


def debian_mirror():
    told = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)",
                           "Created-By: Packages"], check=True, capture_output=True, text=True).stdout
    found = [line.split()[0] for line in told.splitlines() if line.split()[1:] in (["bookworm"], ["trixie"])]
    assert found, "no package source for Debian"
    return found[0]


def apt_configuration():
    """The machine's proxies and the like; its sources may be of another release, and the rest is about other things."""
    found = [path for path in pathlib.Path("/etc/apt/apt.conf.d").glob("*")
             if re.search("proxy|verify|cainfo|check-", path.read_text(), re.I)]
    return [str(path) for path in found]


def npm_configuration():
    """What the machine's user and system say, but for the file of certificates, which is mounted."""
    lines = []
    for path in (pathlib.Path("/etc/npmrc"), pathlib.Path(NPMRC)):
        if path.is_file():
            lines += [line for line in path.read_text().splitlines()
                      if not re.match(r"\s*(cafile|nodedir|prefix)\s*=", line)]
    for name, value in os.environ.items():
        if name.lower() == "npm_config_registry":
            lines.append(f"registry={value}")
    return "\n".join([*lines, "cafile=/run/ca.crt", ""])
