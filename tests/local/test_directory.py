from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from commands_platform.local.directory import (
    ServerUrls,
    forget_server_urls,
    prepare_directory,
    read_server_urls,
    secret_key,
    write_server_urls,
)
from commands_platform.local.errors import LocalDirectoryError


def test_the_server_urls_are_read_as_written_until_they_are_forgotten(tmp_path: Path) -> None:
    urls = ServerUrls(database_url="postgresql:///a", redis_url="redis://b")

    write_server_urls(tmp_path, urls)
    read = read_server_urls(tmp_path)
    mode = stat.S_IMODE((tmp_path / "embedded.json").stat().st_mode)
    forget_server_urls(tmp_path)

    assert read == urls
    assert mode == 0o600
    assert read_server_urls(tmp_path) is None


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"database_url": "a"}', '{"other": 1}'])
def test_an_invalid_file_means_that_no_servers_are_running(tmp_path: Path, text: str) -> None:
    (tmp_path / "embedded.json").write_text(text)

    assert read_server_urls(tmp_path) is None


def test_concurrent_callers_make_one_secret_key(tmp_path: Path) -> None:
    local = tmp_path / "local"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: secret_key(local), range(32)))

    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert stat.S_IMODE(local.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in local.iterdir()} == {"secret_key": 0o600}


def test_an_empty_secret_key_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("\n")

    assert len(secret_key(tmp_path)) == 64


def test_a_directory_of_another_account_is_refused_and_its_owner_is_named(tmp_path: Path) -> None:
    foreign = Path("/usr")
    if os.geteuid() == 0:
        foreign = tmp_path / "foreign"
        foreign.mkdir()
        os.chown(foreign, 1, 1)

    with pytest.raises(LocalDirectoryError, match=r"belongs to .*COMMANDS_LOCAL_DIR"):
        prepare_directory(foreign)
