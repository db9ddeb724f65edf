# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `meson install` puts where, for prefixes that people use; and that it goes away again."""

import os
import pathlib
import re
import shutil
import stat
import subprocess
import sysconfig
import xml.etree.ElementTree

import pytest

from box import BUILD
from harness import ROOT

POLKIT = "usr/share/polkit-1/actions/org.waymark1.policy"

LIB = "lib/" + sysconfig.get_config_var("MULTIARCH")  # as Debian has it
FUNCTIONS = re.findall(r"^[a-z].*?\b(wm_[a-z_]+)\(",
                       (ROOT / "include/waymark.h").read_text(encoding="utf-8"), re.M)

# By what is before it: below the prefix, or where the reader looks.
BELOW_PREFIX = {
    "bin/waymark": 0o755,
    "sbin/waymark-keystored": 0o755,
    "sbin/waymark-minivtun": 0o755,
    "sbin/waymarkd": 0o755,
    "share/man/man1/waymark.1": 0o644,
    "share/man/man5/waymark.conf.5": 0o644,
    "share/man/man8/waymark-keystored.8": 0o644,
    "share/man/man8/waymark-minivtun.8": 0o644,
    "share/man/man8/waymarkd.8": 0o644,
    "share/bash-completion/completions/waymark": 0o644,
    "share/zsh/site-functions/_waymark": 0o644,
    "share/fish/vendor_completions.d/waymark.fish": 0o644,
    "share/bash-completion/completions/waymark-minivtun": 0o644,
    "share/zsh/site-functions/_waymark-minivtun": 0o644,
    "share/fish/vendor_completions.d/waymark-minivtun.fish": 0o644,
    "share/doc/waymark/examples/keystore.conf": 0o644,
    "share/doc/waymark/examples/waymark.conf": 0o644,
    "share/doc/waymark/examples/bind-socket.c": 0o644,
    "share/doc/waymark/examples/toyvpn.c": 0o644,
    "include/waymark.h": 0o644,
    f"{LIB}/libwaymark.so": 0o755,
    f"{LIB}/libwaymark.so.0": 0o755,
    f"{LIB}/libwaymark.so.0.1.0": 0o755,
    f"{LIB}/libwaymark-preload.so": 0o755,
    f"{LIB}/pkgconfig/libwaymark.pc": 0o644,
    "share/man/man7/libwaymark-preload.7": 0o644,
} | {f"share/man/man3/{page}.3": 0o644 for page in ["libwaymark", *FUNCTIONS]}
SYSTEM = ("lib/systemd/system/waymark.service", "lib/systemd/system/waymark-minivtun@.service",
          "lib/systemd/system/waymark-keystored.service", "lib/systemd/system/waymark-keystored.socket",
          "lib/sysusers.d/waymark.conf", "share/dbus-1/system-services/org.waymark1.service")


def expected(prefix):
    files = {f"{prefix}/{path}": mode for path, mode in BELOW_PREFIX.items()}
    system = prefix if prefix in ("usr", "usr/local") else "usr"
    files |= {f"{system}/{path}": 0o644 for path in SYSTEM}
    if system != prefix:  # Debian's systemd says its own folder with another name
        files |= {unit: files.pop(f"usr/{unit}") for unit in SYSTEM[:4]}
    policy = "usr/share" if prefix == "usr" else "etc"
    return files | {f"{policy}/dbus-1/system.d/org.waymark1.conf": 0o644, POLKIT: 0o644}


def found(folder):
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
            for path in pathlib.Path(folder).rglob("*") if path.is_file()}


def meson(*arguments, **options):
    return subprocess.run(["meson", *map(str, arguments)], check=True, capture_output=True,
                          text=True, **options)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A copy of the build folder that may be configured anew; nothing is compiled again."""
    copy = tmp_path_factory.mktemp("build") / "build"
    shutil.copytree(BUILD, copy, symlinks=True)
    return copy


def install(build, folder, *options):
    if options:
        meson("configure", build, *options)
    meson("install", "-C", build, "--no-rebuild", env=os.environ | {"DESTDIR": str(folder)},
          umask=0o077)
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Installed as by default, somewhere else."""
    return install(BUILD, tmp_path_factory.mktemp("dest"))


def test_the_files_are_where_they_are_looked_for(tree):
    assert found(tree) == expected("usr/local")
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o755
               for path in tree.rglob("*") if path.is_dir())


@pytest.mark.parametrize("prefix", ["usr", "opt/waymark"])
def test_other_prefixes(build, tmp_path, prefix):
    meson("setup", "--reconfigure", build, ROOT, f"-Dprefix=/{prefix}")
    subprocess.run(["ninja", "-C", build, "man/waymark.1"], check=True, capture_output=True)
    install(build, tmp_path)
    assert found(tmp_path) == expected(prefix)
    unit = next(tmp_path.rglob("waymark.service")).read_text(encoding="utf-8")
    assert f"ExecStart=/{prefix}/sbin/waymarkd\n" in unit
    assert f"ExecReload=/{prefix}/bin/waymark " in unit


def test_each_of_the_others_can_be_left_out(build, tmp_path):
    names = ("systemdsystemunitdir", "sysusersdir", "dbuspolicydir", "dbusservicedir",
             "polkitactiondir")
    meson("setup", "--reconfigure", build, ROOT, "-Dprefix=/usr/local",
          *(f"-D{name}=no" for name in names))
    install(build, tmp_path)
    assert found(tmp_path) == {f"usr/local/{path}": mode for path, mode in BELOW_PREFIX.items()}


def test_a_program_is_built_with_what_was_installed(tree, tmp_path):
    """As a user does it; and it runs, as far as it gets without a daemon."""
    libraries = tree / "usr/local" / LIB
    env = os.environ | {"PKG_CONFIG_SYSROOT_DIR": str(tree), "PKG_CONFIG_LIBDIR":
                        str(libraries / "pkgconfig"), "WAYMARK_RUNTIME_DIR": str(tmp_path)}
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libwaymark"], env=env, check=True,
                           capture_output=True, text=True).stdout.split()
    source = tree / "usr/local/share/doc/waymark/examples/bind-socket.c"
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "a.out", source, *flags],
                   check=True)
    done = subprocess.run([tmp_path / "a.out", "eth0", "192.0.2.1", "80"], capture_output=True,
                          text=True, check=False, env=env | {"LD_LIBRARY_PATH": str(libraries)})
    assert (done.returncode, done.stderr) == (1, "eth0: Connection refused\n")
    page = tree / "usr/local/share/man/man3/wm_protect.3"
    assert page.read_text(encoding="utf-8") == ".so man3/wm_setsocknetwork.3\n"


def analyze(*arguments):
    """systemd-analyze writes to /run: to another one."""
    return subprocess.run(["unshare", "--mount", "sh", "-ec",
                           'mount -t tmpfs tmpfs /run; exec systemd-analyze "$@"', "sh",
                           *arguments], capture_output=True, text=True, check=False)


# With /dev/net/tun; the keystore has nothing but its folder.
@pytest.mark.parametrize("name, most", [("waymark.service", 2.7), ("waymark-keystored.service", 0.5)])
def test_systemd_finds_nothing_to_complain_of(tree, tmp_path, name, most):
    """Here without the manual, which is not installed; test_boot.py does it with."""
    folder = tree / "usr/local/lib/systemd/system"
    unit = (folder / name).read_text(encoding="utf-8")
    for program in ("sbin/waymarkd", "sbin/waymark-keystored", "bin/waymark"):
        unit = re.sub(rf"/usr/local/{program}\b(?!-)", str(tree / "usr/local" / program), unit)
    copy = tmp_path / name
    copy.write_text(unit, encoding="utf-8")
    shutil.copy(folder / "waymark-keystored.socket", tmp_path)
    done = analyze("verify", "--man=no", copy)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    exposure = analyze("security", "--offline=yes", "--no-pager", copy).stdout
    assert float(re.search(r"exposure level for .*: ([0-9.]+)", exposure)[1]) <= most


def test_the_group_and_the_users(tree):
    done = subprocess.run(
        ["systemd-sysusers", "--dry-run", tree / "usr/local" / SYSTEM[4]],
        capture_output=True, text=True, check=True)
    assert "rror" not in done.stderr


@pytest.mark.parametrize("path, root", [("etc/dbus-1/system.d/org.waymark1.conf", "busconfig"),
                                        (POLKIT, "policyconfig")])
def test_the_xml(tree, path, root):
    assert xml.etree.ElementTree.parse(tree / path).getroot().tag == root


@pytest.mark.parametrize("command, path", [
    ("bash -n", "share/bash-completion/completions/waymark"),
    ("bash -n", "share/bash-completion/completions/waymark-minivtun"),
    ("sh -n", ROOT / "tools/after-install"), ("sh -n", ROOT / "tools/uninstall")])
def test_the_shell_takes_it(tree, command, path):
    done = subprocess.run([*command.split(), tree / "usr/local" / path], capture_output=True,
                          text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_uninstall_elsewhere(tmp_path):
    """Only the files: nothing of this machine is touched, and what others put there stays."""
    install(BUILD, tmp_path)
    theirs = tmp_path / "usr/local/share/man/man1/theirs.1"
    theirs.write_text("", encoding="utf-8")
    subprocess.run([ROOT / "tools/uninstall", BUILD], check=True, capture_output=True,
                   env=os.environ | {"DESTDIR": str(tmp_path)})
    assert list(found(tmp_path)) == ["usr/local/share/man/man1/theirs.1"]
    assert not (tmp_path / "usr/local/share/doc/waymark").exists()


def test_uninstall_wants_a_build_folder(tmp_path):
    done = subprocess.run([ROOT / "tools/uninstall", tmp_path], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1 and "is no build folder" in done.stderr
