"""The server's reading of the AWS config, compared with the installed botocore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import botocore.configloader
import botocore.exceptions
import botocore.session
import pytest

from kit.desk import CASES
from kit.inside import Failure, is_aws_page, read_config

if TYPE_CHECKING:
    from pathlib import Path


def read_by_botocore(path: Path) -> Any:
    try:
        config = botocore.configloader.load_config(str(path))
    except botocore.exceptions.ConfigParseError:
        return None
    return config["profiles"], config.get("sso_sessions", {})


@pytest.mark.parametrize(
    ("text", "profiles", "sso_sessions", "name"),
    [(*case[1:], case[0]) for case in CASES],
)
def test_config_case_is_read_alike_by_botocore(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    profiles: Any,
    sso_sessions: Any,
    name: str,
) -> None:
    path = tmp_path / "config"
    path.write_bytes(text.encode("latin-1" if name == "latin-1" else "utf-8"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "")
    theirs = read_by_botocore(path)
    assert theirs == (None if profiles is None else (profiles, sso_sessions))
    if theirs is None:
        with pytest.raises(Failure, match="AWS tools cannot read"):
            read_config()
    else:
        assert read_config()[:2] == theirs


def test_credentials_are_merged_as_botocore_merges_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(
        "[profile a]\nregion = x\nkeep = 1\n[default]\nregion = d\n"
    )
    (tmp_path / "credentials").write_text("[a]\nregion = y\n[b]\nsso_session = s\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    theirs = botocore.session.Session().full_config["profiles"]
    assert read_config().profiles == theirs


def test_pages_of_every_aws_partition_are_recognized() -> None:
    loader = botocore.session.Session().get_component("data_loader")
    partitions = loader.load_data("partitions")["partitions"]
    assert len(partitions) > 7
    for partition in partitions:
        # Not such as aws-cn-global, which no page has.
        region = min(set(partition["regions"]) - {f"{partition['id']}-global"})
        for suffix in ("dnsSuffix", "dualStackDnsSuffix"):
            host = f"{region}.{partition['outputs'][suffix]}"
            assert is_aws_page(f"https://oidc.{host}/authorize?response_type=code")
            assert is_aws_page(f"https://device.sso.{host}/?user_code=ABCD-EFGH")
            assert not is_aws_page(f"https://bucket.s3.{host}/")
