"""Configurations as users write them, beside the real AWS CLI.

Most come from a public report, a tool's documentation or somebody's dotfiles, rewritten for the
Identity Center here. Those marked "constructed" were made up. Two things must hold for all of them:
after a login of the server, AWS commands work; and a login that the server refuses would have been
in vain.
"""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import pytest

from kit.workplace import KIT, Workplace

SESSION = """\
[sso-session corp]
sso_start_url = https://d-1234567890.awsapps.com/start
sso_region = us-east-1
sso_registration_scopes = sso:account:access
"""
ROLE = "sso_account_id = 123456789012\nsso_role_name = Developer\n"
LEGACY = (
    "sso_start_url = https://d-1234567890.awsapps.com/start\nsso_region = us-east-1\n"
)
PROFILE = f"[profile dev]\nsso_session = corp\n{ROLE}"
KEYS = (
    "aws_access_key_id = ASIAEXAMPLE\n"
    "aws_secret_access_key = not-a-key\n"
    "aws_session_token = not-a-token\n"
)
EXPORT = "credential_process = aws configure export-credentials"
NO_TOKEN = "Error loading SSO Token"


class Configuration(NamedTuple):
    """A configuration with which a command of profile `dev` has failed."""

    source: str
    config: str
    cli_error: str  # what `aws sts get-caller-identity` says before any login
    reason: str = ""  # why the server refuses to log in; "" if it logs in
    words: str = ""  # in its answer
    credentials: str = ""
    is_default: bool = False  # the command has named no profile


WORKING = (
    Configuration(
        "aws/aws-cdk#32510: a start URL as the browser shows it",
        SESSION.replace("/start", "/start/#/") + PROFILE,
        NO_TOKEN,
    ),
    Configuration(
        "GoogleCloudPlatform/terraformer#1948: session and profile of the same name",
        SESSION.replace("corp", "dev") + PROFILE.replace("corp", "dev"),
        NO_TOKEN,
    ),
    Configuration(
        "linaro-its/aws2-wrap#72: the session's values again in the profile",
        SESSION + PROFILE + SESSION.partition("\n")[2],
        NO_TOKEN,
    ),
    Configuration(
        "pulumi/pulumi-aws#2272: the role's name in the session",
        f"{SESSION}sso_role_name = Developer\n"
        "[profile dev]\nsso_session = corp\nsso_account_id = 123456789012\n",
        NO_TOKEN,
    ),
    Configuration(
        "aws-sso-util's documentation: settings for older tools",
        f"[profile dev]\n{LEGACY}{ROLE}sso_account_name = Corp Dev\nsso_auto_populated = true\n"
        "credential_process = aws-sso-util credential-process --profile dev\n",
        NO_TOKEN,
    ),
    Configuration(
        "a dev container's setup: the default profile, with another one's process",
        f"[default]\n{LEGACY}{ROLE}"
        "credential_process = aws-sso-util credential-process --profile sandbox-admin\n",
        NO_TOKEN,
        is_default=True,
    ),
    Configuration(
        "dotfiles with home-manager: sorted keys, an empty value, the session last",
        "[profile dev]\ncli_pager =\nregion = eu-central-1\nsso_account_id = 123456789012\n"
        f"sso_role_name = Developer\nsso_session = corp\n\n{SESSION}",
        NO_TOKEN,
    ),
    Configuration(
        "dotfiles with home-manager: a process that exports the profile itself",
        f"{SESSION}{PROFILE}{EXPORT} --profile dev\n",
        NO_TOKEN,
    ),
    Configuration(
        "notes on Terraform: a profile that exports another one",
        f"{SESSION}{PROFILE.replace('dev', 'base')}[profile dev]\n{EXPORT} --profile base\n",
        "Error when retrieving credentials from custom-process",
    ),
    Configuration(
        "constructed: a profile that exports the default profile",
        f"{SESSION}{PROFILE.replace('profile dev', 'default')}[profile dev]\n{EXPORT}\n",
        "Error when retrieving credentials from custom-process",
    ),
    Configuration(
        "constructed: its old keys in the credentials file, under the same name",
        SESSION + PROFILE,
        NO_TOKEN,
        credentials=f"[dev]\n{KEYS}",
    ),
    Configuration(
        "constructed: several scopes",
        SESSION.replace("access\n", "access, codewhisperer:completions\n") + PROFILE,
        NO_TOKEN,
    ),
    Configuration(
        "fwdcloudsec/granted#548: a default profile that only logs in",
        f"{SESSION}[default]\nsso_session=corp\n{PROFILE}cli_pager=cat\n",
        NO_TOKEN,
    ),
    Configuration(
        "constructed: services with their own endpoints",
        f"{SESSION}{PROFILE}services = local\n"
        "[services local]\ns3 =\n  endpoint_url = http://localhost:4566\n",
        NO_TOKEN,
    ),
    Configuration(
        "aws/aws-cli#9863: a `login_session` beside the SSO settings",
        f"{SESSION}{PROFILE}login_session = arn:aws:sts::123456789012:assumed-role/a/b\n",
        NO_TOKEN,
    ),
    Configuration(
        "aws/aws-toolkit-vscode#6755: a misspelled key for the scopes",
        SESSION.replace("_scopes", "_scope") + PROFILE,
        NO_TOKEN,
    ),
    Configuration(
        "rkoval/alfred-aws-console-services-workflow#69: more keys in the session",
        f"{PROFILE}output = json\ncli_pager=\n\n{SESSION}duration_seconds=1800\n",
        NO_TOKEN,
    ),
    Configuration(
        "kayac/ecspresso#519: a start URL that ends with a slash",
        SESSION.replace("/start", "/start/") + PROFILE,
        NO_TOKEN,
    ),
    Configuration(
        "61418/aws-sso-util#31: another profile with brackets in its name",
        "[profile [PROD]-Project-Name.AdministratorAccess]\n"
        f"{LEGACY}{ROLE}sso_account_name = [PROD] Project Name\n{SESSION}{PROFILE}",
        NO_TOKEN,
    ),
)
REFUSED = (
    Configuration(
        "boto/botocore#2835: another start URL in the profile than in its session",
        f"{SESSION}{PROFILE}sso_start_url = https://d-0987654321.awsapps.com/start\n",
        "The value for sso_start_url is inconsistent",
        "sso_inconsistent",
        "delete the line sso_start_url of profile 'dev'",
    ),
    Configuration(
        "aws/aws-sdk-js-v3#6864: another SSO region in the profile than in its session",
        f"{SESSION}{PROFILE}region = us-east-1\nsso_region = us-west-2\n",
        "The value for sso_region is inconsistent",
        "sso_inconsistent",
        "('us-west-2' and 'us-east-1')",
    ),
    Configuration(
        "constructed: a region in the session, another one in the profile",
        f"{SESSION}region = us-east-1\n{PROFILE}region = eu-west-1\n",
        "The value for region is inconsistent",
        "sso_inconsistent",
        "delete the line region of [sso-session corp]",
    ),
    Configuration(
        "aws/aws-cli#8668: the session's name without its hyphen",
        SESSION.replace("corp", "my-corp") + PROFILE.replace("corp", "mycorp"),
        "The specified sso-session does not exist",
        "sso_session_not_found",
        "If you mean 'my-corp', write that",
    ),
    Configuration(
        "aws/aws-cli#5933: a role beside the SSO settings",
        f"{SESSION}{PROFILE}role_arn = arn:aws:iam::123456789012:role/Deploy\n",
        "Partial credentials found in assume-role",
        "not_sso",
        "Move these to another profile, and name that one in source_profile",
    ),
    Configuration(
        "fwdcloudsec/granted#319: the session for granted, the role under its own keys",
        f"{SESSION}[profile dev]\nsso_session = corp\n"
        "granted_sso_account_id = 123456789012\ngranted_sso_role_name = Developer\n"
        "credential_process = granted credential-process --profile dev\n",
        "'granted'",
        "not_sso",
        "gets its keys from another program",
    ),
    Configuration(
        "granted's documentation: all under its own keys",
        "[profile dev]\ngranted_sso_start_url = https://d-1234567890.awsapps.com/start\n"
        "granted_sso_region = us-east-1\ngranted_sso_account_id = 123456789012\n"
        "granted_sso_role_name = Developer\n"
        "credential_process = granted credential-process --profile dev\n",
        "'granted'",
        "not_sso",
        "gets its keys from another program",
    ),
    Configuration(
        "dotfiles with saml2aws: a password manager and a SAML login",
        "[profile dev]\nregion = us-east-1\n"
        "credential_process = op run -- saml2aws login --credential-process --role=dev\n",
        "'op'",
        "not_sso",
        "gets its keys from another program",
    ),
    Configuration(
        "constructed: settings of another profile",
        f"[profile base]\n{LEGACY}[profile dev]\ninclude_profile = base\n{ROLE}",
        "missing required configuration: sso_start_url, sso_region",
        "sso_incomplete",
        "has neither sso_session nor sso_start_url",
    ),
    Configuration(
        "a kOps setup: a profile that exports one of `aws login`",
        "[default]\nlogin_session = arn:aws:sts::123456789012:assumed-role/a/b\n"
        f"[profile dev]\n{EXPORT} --format process\n",
        "Please reauthenticate with 'aws login'",
        "not_sso",
        "profile 'default': it uses `aws login`",
    ),
    Configuration(
        "aws-ia/terraform-aws-control_tower_account_factory#346: a region without its key",
        f"[default]\nus-east-1\n\n{SESSION}{PROFILE}",
        "Unable to parse config file",
        "config_unparsable",
        "line 2: this line is neither `[section]` nor `key = value`",
    ),
    Configuration(
        "a course's setup page: pasted with the dashes of its list",
        f"- [profile dev]\n- {LEGACY.replace(chr(10), chr(10) + '- ')}\n",
        "Unable to parse config file",
        "config_unparsable",
        "line 1: this line is neither `[section]` nor `key = value`",
    ),
    Configuration(
        "the same page: only the keys with their dashes",
        "[profile dev]\n- sso_start_url = https://d-1234567890.awsapps.com/start#\n"
        "- sso_region = us-east-1\n",
        "Unable to locate credentials",
        "not_sso",
        "AWS tools ignore '- sso_start_url' there: write sso_start_url",
    ),
    Configuration(
        "a platform's documentation: placeholders that nobody has filled in",
        "[profile dev]\nsso_start_url = https://<project>.awsapps.com/start\n"
        f"sso_region = <region>\n{ROLE}",
        "doesn't match a supported format",
        "sso_invalid",
        "an invalid sso_region",
    ),
    Configuration(
        "a dev container's setup: variables that no shell has expanded",
        f"[profile dev]\nsso_start_url = ${{sso_url}}\nsso_region = ${{region}}\n{ROLE}",
        "doesn't match a supported format",
        "sso_invalid",
        "Write: sso_region = us-east-1, for example",
    ),
    Configuration(
        "dotfiles with Nix: values quoted as in its language",
        f'{SESSION}[profile dev]\nsso_session = corp\nsso_account_id = "123456789012";\n'
        'sso_role_name = "Developer";\n',
        NO_TOKEN,
        "sso_invalid",
        "Write: sso_account_id = 123456789012.",
    ),
    Configuration(
        "a generator's documentation: an account that has lost its zeros",
        SESSION + PROFILE.replace("123456789012", "890123456"),
        NO_TOKEN,
        "sso_invalid",
        "an invalid sso_account_id",
    ),
    Configuration(
        "constructed: a comment behind a value",
        SESSION + PROFILE.replace("= corp", "= corp  # shared by all"),
        "The specified sso-session does not exist",
        "sso_session_not_found",
        "Write: sso_session = corp.",
    ),
    Configuration(
        "constructed: an invisible character from its editor",
        SESSION + PROFILE.replace("dev]", "dev\u200b]"),
        "The config profile (dev) could not be found",
        "profile_not_found",
        "The name in [profile dev] has an invisible character (U+200B)",
    ),
    Configuration(
        "constructed: typographic hyphens",
        SESSION.replace("us-east-1", "us\u2011east\u20111") + PROFILE,
        "",  # the AWS CLI ends with a traceback, or with this token's error
        "sso_invalid",
        "Write: sso_region = us-east-1.",
    ),
    Configuration(
        "constructed: the config file's header in the credentials file",
        SESSION,
        "The config profile (dev) could not be found",
        "profile_not_found",
        "Write [dev] there.",
        credentials=PROFILE,
    ),
    Configuration(
        "constructed: all of it in the credentials file",
        "",
        "The specified sso-session does not exist",
        "sso_session_not_found",
        "Move it to ",
        credentials=SESSION + PROFILE.replace("profile ", ""),
    ),
    Configuration(
        "aws/aws-cli#5727: an account without a role",
        f"{SESSION}[profile dev]\nsso_session = corp\nsso_account_id = 123456789012\n",
        "missing required configuration: sso_role_name",
        "sso_incomplete",
        "has no sso_role_name",
    ),
    Configuration(
        "constructed: an empty session beside a start URL",
        f"[profile dev]\nsso_session =\n{LEGACY}{ROLE}",
        'The specified sso-session does not exist: ""',
        "sso_session_not_found",
        "Write its name behind `sso_session =`, or delete that line",
    ),
    Configuration(
        "aws/aws-cli#9261: the same profile again",
        SESSION + PROFILE + PROFILE,
        "Unable to parse config file",
        "config_unparsable",
        "line 9: it repeats [profile dev], which is already in line 5",
    ),
    Configuration(
        "aws/aws-cli#9863: a header as in the credentials file",
        SESSION + PROFILE.replace("profile ", ""),
        "The config profile (dev) could not be found",
        "profile_not_found",
        "Write [profile dev].",
    ),
)


def write(place: Workplace, row: Configuration) -> None:
    folder = place.home / ".aws"
    (folder / "config").write_text(row.config, encoding="utf-8")
    if row.credentials:
        (folder / "credentials").write_text(row.credentials, encoding="utf-8")


def named_profile(row: Configuration) -> list[str]:
    if row.is_default:
        return []
    return ["--profile=dev"]


def cli_error(place: Workplace, row: Configuration) -> str:
    """Return what the AWS CLI says when it is asked for the caller; "" if it is told."""
    run = place.run_aws("sts", "get-caller-identity", *named_profile(row))
    assert (run.returncode == 0) == (run.stderr == ""), run.stderr
    return run.stderr


def refresh(place: Workplace, row: Configuration) -> tuple[int, str]:
    """Return exit code and output of the server's own login."""
    argv, env = place.server("refresh", *named_profile(row))
    run = subprocess.run(
        argv, env=env, input="", capture_output=True, text=True, check=False
    )
    return run.returncode, run.stdout


def log_in_with_cli(place: Workplace, row: Configuration) -> None:
    """Log in as a user does who follows the AWS CLI's hint. Any failure is fine."""
    argv, env = place.cli("sso", "login", "--no-browser", *named_profile(row))
    pipe = subprocess.PIPE
    login = subprocess.Popen(argv, env=env, stdout=pipe, stderr=pipe, text=True)
    assert login.stdout
    for line in login.stdout:
        if line.startswith("https://") and "?" in line:
            person = [sys.executable, str(KIT / "person.py"), line.strip()]
            subprocess.run(person, env=place.centre.environment(), check=False)
    login.communicate()


@pytest.mark.parametrize("row", WORKING, ids=lambda row: row.source)
def test_commands_work_after_a_login(newest: Workplace, row: Configuration) -> None:
    write(newest, row)
    assert row.cli_error in cli_error(newest, row)
    code, text = refresh(newest, row)
    assert code == 0, text
    assert "Logged in" in text
    assert len(newest.centre.pages) == 1
    assert cli_error(newest, row) == ""


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.source)
def test_login_is_refused_that_would_be_in_vain(
    newest: Workplace, row: Configuration
) -> None:
    write(newest, row)
    assert row.cli_error in cli_error(newest, row)
    code, text = refresh(newest, row)
    assert code == 1
    assert row.words in text
    assert newest.centre.pages == []
    argv, env = newest.server("status", "dev", "--json")
    status = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert f'"reason": "{row.reason}"' in status.stdout
    log_in_with_cli(newest, row)
    assert cli_error(newest, row) != ""


def test_start_url_of_a_company_that_cannot_be_reached(newest: Workplace) -> None:
    """AWS CLI 2.35 and newer asks the company's host where it leads."""
    url = "https://sso.example.com/start"
    text = SESSION.replace("https://d-1234567890.awsapps.com/start", url) + PROFILE
    newest.write_config(text)
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy"))
    for variables in (proxies, dict.fromkeys(proxies, "http://127.0.0.1:1")):
        argv, env = newest.server("refresh", "dev", **variables)
        run = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert "AWS cannot be reached. Check the network" in run.stdout
