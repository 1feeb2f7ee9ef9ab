"""Which JMeter and which Java are used, what is refused with which sentence, and homes that are made once."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from loadtests import jmeter_home
from loadtests.errors import ToolError
from loadtests.jmeter_home import assemble, compiled, find_java, find_jmeter, installed_version
from loadtests.made_once import cache, made_once


def jar(path: Path, files: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def installed(home: Path, number: str) -> Path:
    """What an installed JMeter looks like, as far as we look."""
    manifest = f"Manifest-Version: 1.0\nImplementation-Version: {number}\n"
    jar(home / "lib" / "ext" / "ApacheJMeter_core.jar", {"META-INF/MANIFEST.MF": manifest})
    jar(home / "bin" / "ApacheJMeter.jar", {"x": ""})
    return home


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_named_jmeter_is_used(tmp_path: Path) -> None:
    home = installed(tmp_path / "jmeter", "5.6.3")
    assert installed_version({"JMETER_HOME": str(home)}) == (5, 6)
    assert find_jmeter({"JMETER_HOME": str(home)}) == home


@pytest.mark.parametrize("number", ["2.13.20170723", "5.4.3"])
def test_an_old_jmeter_is_refused(number: str, tmp_path: Path) -> None:
    """Debian's, for one, cannot load a plan."""
    home = installed(tmp_path, number)
    short = ".".join(number.split(".")[:2])
    with pytest.raises(ToolError, match=rf"^JMETER_HOME names {home}, a JMeter {short}, which is too old; install"):
        find_jmeter({"JMETER_HOME": str(home)})


def test_a_directory_that_is_no_jmeter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="which is no JMeter"):
        find_jmeter({"JMETER_HOME": str(tmp_path)})
    (installed(tmp_path, "5.6") / "lib" / "ext" / "ApacheJMeter_core.jar").write_text("no archive")
    with pytest.raises(ToolError, match="which is no JMeter"):
        find_jmeter({"JMETER_HOME": str(tmp_path)})


def test_without_the_extra_the_one_on_the_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through its link, as packages install it; and judged like any other."""
    monkeypatch.setattr(jmeter_home, "bundled_jars", lambda: None)
    home = installed(tmp_path / "share" / "jmeter", "5.6.3")
    program(home / "bin" / "jmeter")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "jmeter").symlink_to(home / "bin" / "jmeter")
    assert find_jmeter({"PATH": str(tmp_path / "bin")}) == home
    installed(home, "2.13")
    assert installed_version({"PATH": str(tmp_path / "bin")}) == (2, 13)
    with pytest.raises(ToolError, match=r"^`jmeter` on the path belongs to .*, a JMeter 2\.13, which is too old"):
        find_jmeter({"PATH": str(tmp_path / "bin")})


def test_no_jmeter_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jmeter_home, "bundled_jars", lambda: None)
    with pytest.raises(ToolError, match=r"^JMeter is not here; install the extra `jmeter` \(make setup-jmeter\)"):
        find_jmeter({"PATH": str(tmp_path)})
    assert installed_version({"PATH": str(tmp_path)}) is None


def test_java_is_found_or_said_to_be_missing(tmp_path: Path) -> None:
    java = program(tmp_path / "jre" / "bin" / "java")
    assert find_java({"JAVA_HOME": str(tmp_path / "jre")}) == str(java)
    assert find_java({"PATH": str(java.parent)}) == str(java)
    with pytest.raises(ToolError, match=r"^JAVA_HOME names .*, which has no bin/java"):
        find_java({"JAVA_HOME": str(tmp_path)})
    with pytest.raises(ToolError, match="needs a Java and none is here"):
        find_java({"PATH": str(tmp_path)})


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    """A heap of jars as the extra has them."""
    heap = tmp_path / "jars"
    for name in ("ApacheJMeter-5.5", "ApacheJMeter_http-5.5", "jmeter-plugins-tst-2.5", "groovy-3.0.11"):
        jar(heap / f"{name}.jar", {"x": name})
    jar(heap / "ApacheJMeter_config-5.5.jar", {"bin/jmeter.properties": "a=b", "META-INF/LICENSE": ""})
    return heap


def test_a_heap_of_jars_becomes_a_home(jars: Path, tmp_path: Path) -> None:
    """The launcher is a real file, because JMeter finds its home by it; the rest is linked."""
    home = assemble(jars, tmp_path / "cache")
    found = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    assert found == {
        "bin/ApacheJMeter.jar",
        "bin/jmeter.properties",
        "lib/ext/ApacheJMeter_http-5.5.jar",
        "lib/ext/jmeter-plugins-tst-2.5.jar",
        "lib/groovy-3.0.11.jar",
    }
    assert not (home / "bin" / "ApacheJMeter.jar").is_symlink()


def test_a_home_is_made_once(jars: Path, tmp_path: Path) -> None:
    home = assemble(jars, tmp_path / "cache")
    made = home.stat().st_ino
    assert assemble(jars, tmp_path / "cache") == home
    assert home.stat().st_ino == made
    assert list((tmp_path / "cache").iterdir()) == [home]


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    """Half a home would be found, and used, the next time."""

    def break_off(place: Path) -> None:
        (place / "half").touch()
        raise ToolError("no more")

    with pytest.raises(ToolError, match="no more"):
        made_once(tmp_path / "cache" / "home", break_off)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_faster_of_two_makers_is_followed(tmp_path: Path) -> None:
    place = tmp_path / "home"

    def overtaken(partial: Path) -> None:
        (partial / "mine").touch()
        place.mkdir()
        (place / "theirs").touch()

    assert [path.name for path in made_once(place, overtaken).iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [place]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ToolError, match="name another XDG_CACHE_HOME"):
        made_once(tmp_path / "file" / "home", lambda _: None)
    assert cache({"XDG_CACHE_HOME": "/c"}) == Path("/c/gymkhana")
    assert cache({"HOME": "/h"}) == Path("/h/.cache/gymkhana")


@pytest.mark.processes
def test_source_that_java_cannot_compile_is_named(tmp_path: Path) -> None:
    java = program(tmp_path / "java")
    java.write_text("#!/bin/sh\necho 'startup failed: Load.groovy: 1'\nexit 1\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Load.groovy").write_text("class {")
    with pytest.raises(ToolError, match=r"src cannot be compiled for JMeter \(startup failed: Load\.groovy: 1\)"):
        compiled(tmp_path / "src", tmp_path, str(java), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
