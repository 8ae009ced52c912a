#!/usr/bin/env python3
"""An AWS IAM Identity Center on loopback, for the real AWS CLI.

`IdentityCenter` is an HTTPS proxy that answers for AWS's hosts itself, under a certificate
authority of its own. A client needs nothing but `environment()`: it goes on to use AWS's real
URLs, and a host that is not served here is refused, so that no test can reach the network.

    with IdentityCenter() as centre:
        centre.approval = "deny"
        subprocess.run(["aws", "sso", "login", ...], env={**os.environ, **centre.environment()})
        assert "CreateToken:authorization_code" not in centre.calls

Run as a program, it prints its environment and serves until Ctrl-C. Signatures of requests are
not checked; PKCE verifiers, client secrets, tokens and assignments are.

From top to bottom: requests and replies, the centre's records, `IdentityCenter` (first for tests,
then one block per service), the proxy.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import re
import secrets
import shlex
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.sax.saxutils import escape

import trustme

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from email.message import Message

PORTAL = "d-1234567890.awsapps.com"
START_URL = f"https://{PORTAL}/start"

# host -> service
HOSTS = {PORTAL: "page", "sts.amazonaws.com": "sts"}
for _region in ("us-east-1", "eu-central-1"):
    HOSTS[f"oidc.{_region}.amazonaws.com"] = "oidc"
    HOSTS[f"portal.sso.{_region}.amazonaws.com"] = "portal"
    HOSTS[f"sts.{_region}.amazonaws.com"] = "sts"
    HOSTS[f"device.sso.{_region}.amazonaws.com"] = "page"

# (service, method, path) -> operation; STS names its operations in the body instead.
ROUTES = {
    ("oidc", "POST", "/client/register"): "RegisterClient",
    ("oidc", "POST", "/device_authorization"): "StartDeviceAuthorization",
    ("oidc", "POST", "/token"): "CreateToken",
    ("oidc", "GET", "/authorize"): "Authorize",
    ("page", "GET", "/"): "OpenPage",
    ("page", "GET", "/start"): "OpenPage",
    ("page", "GET", "/start/"): "OpenPage",
    ("portal", "GET", "/federation/credentials"): "GetRoleCredentials",
    ("portal", "GET", "/assignment/accounts"): "ListAccounts",
    ("portal", "GET", "/assignment/roles"): "ListAccountRoles",
    ("portal", "POST", "/logout"): "Logout",
}
PAGES = ("Authorize", "OpenPage")

GRANTS = {
    "urn:ietf:params:oauth:grant-type:device_code": "device_code",
    "authorization_code": "authorization_code",
    "refresh_token": "refresh_token",
}

# As RFC 8628 advises: no vowels, so that a code spells no word.
USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


# --- Requests and replies ---------------------------------------------------------------


class Request(NamedTuple):
    """One HTTP request; `parameters` are those of the query and of a form or JSON body."""

    service: str
    method: str
    url: str
    headers: Message
    parameters: dict[str, Any]

    def get(self, name: str) -> str:
        """Return a parameter, or "" when there is none."""
        return str(self.parameters.get(name, ""))

    def operation(self) -> str:
        """Return the name of the operation that is called, or the URL when it has none."""
        path = urlsplit(self.url).path
        name = self.get("Action") if self.service == "sts" else None
        return name or ROUTES.get((self.service, self.method, path), self.url)


class Reply(NamedTuple):
    """One HTTP reply."""

    status: int
    content_type: str
    body: str
    headers: tuple[tuple[str, str], ...] = ()


def json_reply(content: Mapping[str, object], status: int = 200) -> Reply:
    return Reply(status, "application/json", json.dumps(content))


def sts_reply(operation: str, result: str) -> Reply:
    namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
    metadata = "<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>"
    content = f"<{operation}Result>{result}</{operation}Result>{metadata}"
    xml = f'<{operation}Response xmlns="{namespace}">{content}</{operation}Response>'
    return Reply(200, "text/xml", xml)


def page(text: str, status: int = 200) -> Reply:
    html = f"<!doctype html><title>AWS access portal</title><p>{escape(text)}</p>"
    return Reply(status, "text/html; charset=utf-8", html)


def redirect(url: str, **parameters: str) -> Reply:
    location = ("Location", f"{url}?{urlencode(parameters)}")
    return page("Continue in the application.", 302)._replace(headers=(location,))


def utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class AwsError(Exception):
    """An error of an AWS service; `reply` has the shape that botocore reads."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status

    def reply(self, service: str) -> Reply:
        if service == "page":
            return page(f"{self.code}: {self.message}", self.status)
        if service == "sts":
            error = f"<Code>{self.code}</Code><Message>{escape(self.message)}</Message>"
            xml = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>"
            return Reply(self.status, "text/xml", xml)
        if service == "oidc":
            words = re.findall("[A-Z][a-z]+", self.code.removesuffix("Exception"))
            content = {
                "error": "_".join(words).lower(),
                "error_description": self.message,
            }
        else:
            content = {"message": self.message}
        error_type = ("x-amzn-ErrorType", self.code)
        return json_reply(content, self.status)._replace(headers=(error_type,))


class Hang(Exception):
    """The connection stays open without a reply until the centre closes."""


class Reset(Exception):
    """The connection ends at once, by a TCP reset."""


FAILURES: dict[str, Reply | Exception] = {
    "500": AwsError("InternalServerException", "Internal server error", 500),
    "429": AwsError("TooManyRequestsException", "Rate exceeded", 429),
    "html": page("Welcome to the hotel's network. Please sign in."),
    "hang": Hang(),
    "reset": Reset(),
}


# --- What the centre remembers ----------------------------------------------------------


@dataclass
class Client:
    """A client registration."""

    secret: str
    expires_at: float
    scopes: list[str]


@dataclass
class Authorization:
    """What a client asks a user for, in either flow, and the user's answer."""

    client_id: str
    expires_at: float = math.inf
    user_code: str = ""
    redirect_uri: str = ""
    code_challenge: str = ""
    answer: str = "ignore"
    answered_at: float = math.inf

    def outcome(self) -> str:
        """Return the user's answer, or "pending" while there is none."""
        return self.answer if time.monotonic() >= self.answered_at else "pending"


@dataclass
class RoleSession:
    """A session of a role, and the role credentials that stand for it."""

    account_id: str
    role_name: str
    session_name: str
    expires_at: float
    access_key_id: str
    secret_access_key: str
    session_token: str

    def arn(self) -> str:
        role = f"{self.role_name}/{self.session_name}"
        return f"arn:aws:sts::{self.account_id}:assumed-role/{role}"


# --- Identity Center --------------------------------------------------------------------


class IdentityCenter:
    """A running Identity Center with one user in front of it; close it after use.

    Every connection has a thread of its own, which `close` waits for. `_changed` guards all that
    requests read and write below; it is notified of each call, page, answer, and of the end.
    Tests may set the attributes at any time; they apply to the next request or page.
    """

    start_url = START_URL
    region = "us-east-1"

    approval = "approve"
    """What the user does with a page: "approve", "deny", "ignore", "expire" (answers too late),
    or, for PKCE alone, "wrong_state" (comes back with the state of another login)."""
    approval_delay_s = 0.0

    token_lifetime_s = 3600
    role_lifetime_s = 3600
    registration_lifetime_s = 90 * 86400
    grants_refresh_token = True
    """As AWS does: always with PKCE, for devices only if the registration has scopes."""
    one_time_refresh_tokens = False
    refuse_refresh = False
    unassigned = "ForbiddenException"
    """The error for a role that is not assigned. AWS answers "ResourceNotFoundException" for an
    account that it does not know; "" grants the role."""

    device_interval_s = 1
    device_code_lifetime_s = 600
    verification_uri = f"{START_URL}/#/device"

    def __init__(self) -> None:
        self.assigned = {("123456789012", "Developer")}
        """Account ID and role name of every role that the user has."""
        self.calls: list[str] = []
        """The operations called, in order, `CreateToken` with its grant."""
        self.pages: list[str] = []
        """The URLs that the user opened."""
        self.refused: list[str] = []
        """The hosts that clients requested and that are not served here."""
        self.secrets: set[str] = set()
        """All secrets that were issued or received; they must not appear anywhere else."""

        self._changed = threading.Condition()
        self._closed = False
        self._failures: dict[str, list[str]] = {}
        self._clients: dict[str, Client] = {}
        self._device_codes: dict[str, Authorization] = {}
        self._authorization_codes: dict[str, Authorization] = {}
        self._open_pages: list[Authorization] = []
        self._access_tokens: dict[str, float] = {}
        self._refresh_tokens: dict[str, str] = {}
        self._role_sessions: dict[str, RoleSession] = {}

        authority = trustme.CA()
        self._folder = tempfile.TemporaryDirectory(prefix="identity-center-")
        self._ca_bundle = Path(self._folder.name, "ca.pem")
        authority.cert_pem.write_to_path(str(self._ca_bundle))
        self._proxy = Proxy(self, authority.issue_cert(*HOSTS))
        self.port = self._proxy.server_port
        threading.Thread(
            target=self._proxy.serve_forever, args=(0.05,), daemon=True
        ).start()

    def __enter__(self) -> IdentityCenter:  # noqa: PYI034 (Self is of 3.11)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- For tests

    def environment(self) -> dict[str, str]:
        """Return the variables that make a client use this centre."""
        proxy = f"http://127.0.0.1:{self.port}"
        direct = "127.0.0.1,localhost"
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": direct,
            "no_proxy": direct,
            "AWS_CA_BUNDLE": str(self._ca_bundle),
        }

    def close(self) -> None:
        """Close every connection, hanging ones too, and wait for their threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._proxy.close()
        self._folder.cleanup()

    def approve_now(self) -> None:
        """Approve every page that the user has opened and not answered."""
        self._answer_now("approve")

    def deny_now(self) -> None:
        """Deny every page that the user has opened and not answered."""
        self._answer_now("deny")

    def _answer_now(self, answer: str) -> None:
        def unanswered() -> list[Authorization]:
            return [each for each in self._open_pages if each.outcome() == "pending"]

        with self._changed:
            # A page is in `pages` a moment before the user sees it.
            self._changed.wait_for(unanswered, 1)
            for authorization in unanswered():
                authorization.answer = answer
                authorization.answered_at = time.monotonic()
            self._changed.notify_all()

    def revoke(self) -> None:
        """Revoke every token issued so far; role credentials stay valid, as AWS's do."""
        with self._changed:
            self._access_tokens.clear()
            self._refresh_tokens.clear()

    def issue_token(
        self, lifetime_s: float, *, refreshable: bool, revoked: bool = False
    ) -> dict[str, Any]:
        """Return a token in the AWS CLI's format, of an earlier login.

        A revoked one is refused although it has not expired; its refresh token is valid.
        """
        client_id = secrets.token_urlsafe(16)
        now = time.time()
        client = Client(
            self._secret("client-secret"), now + self.registration_lifetime_s, []
        )
        token = {
            "startUrl": self.start_url,
            "region": self.region,
            "accessToken": self._secret("access-token"),
            "expiresAt": utc(now + lifetime_s),
            "clientId": client_id,
            "clientSecret": client.secret,
            "registrationExpiresAt": utc(client.expires_at),
        }
        if refreshable:
            token["refreshToken"] = self._secret("refresh-token")
        with self._changed:
            self._clients[client_id] = client
            if not revoked:
                self._access_tokens[token["accessToken"]] = (
                    time.monotonic() + lifetime_s
                )
            if refreshable:
                self._refresh_tokens[token["refreshToken"]] = client_id
        return token

    def issue_role_credentials(
        self, lifetime_s: float, account_id: str, role_name: str
    ) -> dict[str, str]:
        """Return role credentials in the AWS CLI's format."""
        session = self._new_sso_session(account_id, role_name, lifetime_s)
        return {
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret_access_key,
            "SessionToken": session.session_token,
            "Expiration": utc(session.expires_at),
        }

    def accepts(self, access_token: str) -> bool:
        return self._access_tokens.get(access_token, -math.inf) >= time.monotonic()

    def forget_clients(self) -> None:
        """Forget every client registration issued so far."""
        with self._changed:
            self._clients.clear()

    def fail(self, operation: str, kind: str, times: int = 1) -> None:
        """Answer the next `times` calls of `operation` with a failure.

        `kind` is one of `FAILURES` or the name of an AWS exception. A page is an operation too:
        "Authorize" for PKCE, "OpenPage" for a device. Nothing but this sends SlowDownException,
        as the AWS CLI does not keep to the interval between its first two polls.
        """
        with self._changed:
            self._failures.setdefault(operation, []).extend([kind] * times)

    def wait_for(self, happened: Callable[[], bool], timeout_s: float = 10) -> bool:
        """Return whether `happened()` becomes true in time; it is called at each call and page."""
        with self._changed:
            return self._changed.wait_for(happened, timeout_s)

    # --- For the proxy

    def refuse(self, host: str) -> None:
        with self._changed:
            self.refused.append(host)
            self._changed.notify_all()

    def reply(self, request: Request) -> Reply:
        """Return the reply to a request to any service; raise Hang or Reset when there is none."""
        operation = request.operation()
        handler = self._handlers().get(operation, self._unknown_operation)
        try:
            self._record(operation, request)
            failure = self._next_failure(operation)
            if isinstance(failure, Exception):
                raise failure
            return failure or handler(request)
        except AwsError as error:
            return error.reply(request.service)

    def wait_until_closed(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed)

    def _unknown_operation(self, request: Request) -> Reply:
        raise AwsError("UnknownOperationException", f"Not served: {request.url}", 404)

    def _handlers(self) -> dict[str, Callable[[Request], Reply]]:
        return {
            "RegisterClient": self._register_client,
            "StartDeviceAuthorization": self._start_device_authorization,
            "CreateToken": self._create_token,
            "Authorize": self._authorize,
            "OpenPage": self._open_page,
            "GetRoleCredentials": self._get_role_credentials,
            "ListAccounts": self._list_accounts,
            "ListAccountRoles": self._list_account_roles,
            "Logout": self._logout,
            "GetCallerIdentity": self._get_caller_identity,
            "AssumeRole": self._assume_role,
        }

    def _record(self, operation: str, request: Request) -> None:
        with self._changed:
            if operation in PAGES:
                self.pages.append(request.url)
            else:
                grant = GRANTS.get(request.get("grantType"))
                self.calls.append(f"{operation}:{grant}" if grant else operation)
            self._changed.notify_all()

    def _next_failure(self, operation: str) -> Reply | Exception | None:
        with self._changed:
            kinds = self._failures.get(operation)
            kind = kinds.pop(0) if kinds else None
        return FAILURES.get(kind, AwsError(kind)) if kind else None

    def _secret(self, kind: str) -> str:
        """Return a new secret that contains its `kind`, so that a leak can be recognized."""
        secret = f"{kind}-{secrets.token_urlsafe(48)}"
        with self._changed:
            self.secrets.add(secret)
        return secret

    # --- sso-oidc: client registrations, device codes, tokens

    def _register_client(self, request: Request) -> Reply:
        client_id = secrets.token_urlsafe(16)
        issued_at = time.time()
        client = Client(
            secret=self._secret("client-secret"),
            expires_at=issued_at + self.registration_lifetime_s,
            scopes=request.parameters.get("scopes") or [],
        )
        with self._changed:
            self._clients[client_id] = client
        return json_reply(
            {
                "clientId": client_id,
                "clientIdIssuedAt": int(issued_at),
                "clientSecret": client.secret,
                "clientSecretExpiresAt": int(client.expires_at),
            }
        )

    def _client(self, client_id: str) -> Client:
        client = self._clients.get(client_id)
        if client is None or client.expires_at < time.time():
            raise AwsError(
                "InvalidClientException", "Client is unknown or has expired", 401
            )
        return client

    def _authenticated_client(self, request: Request) -> Client:
        client = self._client(request.get("clientId"))
        if request.get("clientSecret") != client.secret:
            raise AwsError(
                "InvalidClientException", "Invalid client secret provided", 401
            )
        return client

    def _start_device_authorization(self, request: Request) -> Reply:
        self._authenticated_client(request)
        letters = "".join(secrets.choice(USER_CODE_LETTERS) for _ in range(8))
        authorization = Authorization(
            client_id=request.get("clientId"),
            expires_at=time.monotonic() + self.device_code_lifetime_s,
            user_code=f"{letters[:4]}-{letters[4:]}",
        )
        device_code = self._secret("device-code")
        with self._changed:
            self._device_codes[device_code] = authorization
        query = urlencode({"user_code": authorization.user_code})
        return json_reply(
            {
                "deviceCode": device_code,
                "userCode": authorization.user_code,
                "verificationUri": self.verification_uri,
                "verificationUriComplete": f"{self.verification_uri}?{query}",
                "expiresIn": self.device_code_lifetime_s,
                "interval": self.device_interval_s,
            }
        )

    def _create_token(self, request: Request) -> Reply:
        grants = {
            "device_code": self._redeem_device_code,
            "authorization_code": self._redeem_authorization_code,
            "refresh_token": self._redeem_refresh_token,
        }
        with self._changed:
            client = self._authenticated_client(request)
            redeem = grants.get(GRANTS.get(request.get("grantType"), ""))
            if redeem is None:
                raise AwsError("UnsupportedGrantTypeException")
            refresh_token = redeem(request, client)
            access_token = self._secret("access-token")
            self._access_tokens[access_token] = time.monotonic() + self.token_lifetime_s
        lifetime = self.token_lifetime_s
        content = {
            "accessToken": access_token,
            "tokenType": "Bearer",
            "expiresIn": lifetime,
        }
        if refresh_token:
            content["refreshToken"] = refresh_token
        return json_reply(content)

    # Each of these raises AwsError, or returns the refresh token to send along, which may be "".

    def _redeem_device_code(self, request: Request, client: Client) -> str:
        authorization = self._device_codes.get(request.get("deviceCode"))
        if authorization is None or authorization.client_id != request.get("clientId"):
            raise AwsError("InvalidGrantException", "Invalid device code provided")
        outcome = authorization.outcome()
        if outcome == "expire" or authorization.expires_at < time.monotonic():
            raise AwsError("ExpiredTokenException")
        if outcome == "deny":
            raise AwsError("AccessDeniedException")
        if outcome != "approve":
            raise AwsError("AuthorizationPendingException")
        del self._device_codes[request.get("deviceCode")]
        return self._new_refresh_token(request) if client.scopes else ""

    def _redeem_authorization_code(self, request: Request, _: Client) -> str:
        verifier = request.get("codeVerifier")
        if verifier:
            self.secrets.add(verifier)
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        authorization = self._authorization_codes.pop(request.get("code"), None)
        if authorization is None or (
            authorization.client_id != request.get("clientId")
            or authorization.redirect_uri != request.get("redirectUri")
            or authorization.code_challenge != challenge
        ):
            raise AwsError(
                "InvalidGrantException", "Invalid authorization code provided"
            )
        if authorization.outcome() == "expire":
            raise AwsError("ExpiredTokenException")
        return self._new_refresh_token(request)

    def _redeem_refresh_token(self, request: Request, _: Client) -> str:
        refresh_token = request.get("refreshToken")
        owner = self._refresh_tokens.get(refresh_token)
        if self.refuse_refresh or owner != request.get("clientId"):
            raise AwsError("InvalidGrantException", "Invalid refresh token provided")
        if not self.one_time_refresh_tokens:
            return refresh_token
        del self._refresh_tokens[refresh_token]
        return self._new_refresh_token(request)

    def _new_refresh_token(self, request: Request) -> str:
        if not self.grants_refresh_token:
            return ""
        refresh_token = self._secret("refresh-token")
        self._refresh_tokens[refresh_token] = request.get("clientId")
        return refresh_token

    # --- Pages: what the user sees

    def _authorize(self, request: Request) -> Reply:
        """Keep the page of the PKCE flow open until the user answers, then redirect."""
        self._client(request.get("client_id"))
        if request.get("code_challenge_method") != "S256":
            raise AwsError(
                "InvalidRequestException", "The code challenge method must be S256"
            )
        authorization = Authorization(
            client_id=request.get("client_id"),
            redirect_uri=request.get("redirect_uri"),
            code_challenge=request.get("code_challenge"),
        )
        with self._changed:
            self._show(authorization)
            outcome = self._wait_for_answer(authorization)
            state = request.get("state")
            if outcome == "deny":
                return redirect(
                    authorization.redirect_uri, error="access_denied", state=state
                )
            code = self._secret("authorization-code")
            self._authorization_codes[code] = authorization
        if outcome == "wrong_state":
            state = secrets.token_hex(16)
        return redirect(authorization.redirect_uri, code=code, state=state)

    def _open_page(self, request: Request) -> Reply:
        """Show the page of the device flow; the client learns the answer when it polls."""
        user_code = request.get("user_code")
        if not user_code:
            return page("Enter the code that your device shows.")
        with self._changed:
            for authorization in self._device_codes.values():
                if authorization.user_code == user_code:
                    self._show(authorization)
                    return page("Allow the application to access your data?")
        return page("This code is unknown, or was used before.", 404)

    def _show(self, authorization: Authorization) -> None:
        self._open_pages.append(authorization)
        authorization.answer = self.approval
        if self.approval != "ignore":
            authorization.answered_at = time.monotonic() + self.approval_delay_s
        self._changed.notify_all()

    def _wait_for_answer(self, authorization: Authorization) -> str:
        while (outcome := authorization.outcome()) == "pending":
            if self._closed:
                raise Hang
            left = authorization.answered_at - time.monotonic()
            self._changed.wait(None if math.isinf(left) else max(left, 0))
        return outcome

    # --- portal: accounts and role credentials

    def _access_token(self, request: Request) -> str:
        access_token = request.headers.get("x-amz-sso_bearer_token", "")
        if not self.accepts(access_token):
            raise AwsError(
                "UnauthorizedException", "Session token not found or invalid", 401
            )
        return access_token

    def _get_role_credentials(self, request: Request) -> Reply:
        self._access_token(request)
        account_id = request.get("account_id")
        role_name = request.get("role_name")
        if (account_id, role_name) not in self.assigned:
            if self.unassigned == "ResourceNotFoundException":
                raise AwsError(self.unassigned, "Account not found", 404)
            if self.unassigned:
                raise AwsError(self.unassigned, "No access", 403)
        session = self._new_sso_session(account_id, role_name, self.role_lifetime_s)
        credentials = {
            "accessKeyId": session.access_key_id,
            "secretAccessKey": session.secret_access_key,
            "sessionToken": session.session_token,
            "expiration": int(session.expires_at * 1000),
        }
        return json_reply({"roleCredentials": credentials})

    def _new_sso_session(
        self, account_id: str, role_name: str, lifetime_s: float
    ) -> RoleSession:
        role_name = f"AWSReservedSSO_{role_name}_0123456789abcdef"
        return self._new_role_session(
            account_id, role_name, "alice@example.com", lifetime_s
        )

    def _new_role_session(
        self, account_id: str, role_name: str, name: str, lifetime_s: float
    ) -> RoleSession:
        session = RoleSession(
            account_id,
            role_name,
            name,
            expires_at=time.time() + lifetime_s,
            access_key_id=f"ASIA{secrets.token_hex(8).upper()}",
            secret_access_key=self._secret("secret-access-key"),
            session_token=self._secret("session-token"),
        )
        with self._changed:
            self._role_sessions[session.access_key_id] = session
        return session

    def _list_accounts(self, request: Request) -> Reply:
        self._access_token(request)
        account_ids = sorted({account_id for account_id, _ in set(self.assigned)})
        return json_reply({"accountList": [{"accountId": it} for it in account_ids]})

    def _list_account_roles(self, request: Request) -> Reply:
        self._access_token(request)
        account_id = request.get("account_id")
        names = sorted(
            name for account, name in set(self.assigned) if account == account_id
        )
        roles = [{"accountId": account_id, "roleName": name} for name in names]
        return json_reply({"roleList": roles})

    def _logout(self, request: Request) -> Reply:
        with self._changed:
            del self._access_tokens[self._access_token(request)]
        return json_reply({})

    # --- STS

    def _caller(self, request: Request) -> RoleSession:
        credential = re.search(
            r"Credential=(\w+)/", request.headers.get("Authorization", "")
        )
        session = self._role_sessions.get(credential[1]) if credential else None
        if session is None:
            message = "The security token included in the request is invalid."
            raise AwsError("InvalidClientTokenId", message, 403)
        if session.expires_at < time.time():
            message = "The security token included in the request is expired"
            raise AwsError("ExpiredToken", message, 403)
        return session

    def _get_caller_identity(self, request: Request) -> Reply:
        caller = self._caller(request)
        return sts_reply(
            "GetCallerIdentity",
            f"<Arn>{escape(caller.arn())}</Arn>"
            f"<UserId>AROAEXAMPLE:{escape(caller.session_name)}</UserId>"
            f"<Account>{escape(caller.account_id)}</Account>",
        )

    def _assume_role(self, request: Request) -> Reply:
        self._caller(request)
        role = re.fullmatch(
            r"arn:aws:iam::(\d{12}):role/([\w+=,.@/-]+)", request.get("RoleArn")
        )
        if role is None:
            raise AwsError("ValidationError", "RoleArn is not the ARN of a role")
        name = request.get("RoleSessionName")
        lifetime_s = self.role_lifetime_s
        session = self._new_role_session(role[1], role[2], name, lifetime_s)
        return sts_reply(
            "AssumeRole",
            f"<Credentials><AccessKeyId>{session.access_key_id}</AccessKeyId>"
            f"<SecretAccessKey>{session.secret_access_key}</SecretAccessKey>"
            f"<SessionToken>{session.session_token}</SessionToken>"
            f"<Expiration>{utc(session.expires_at)}</Expiration></Credentials>"
            f"<AssumedRoleUser><Arn>{escape(session.arn())}</Arn></AssumedRoleUser>",
        )


# --- Proxy ------------------------------------------------------------------------------


class Proxy(ThreadingHTTPServer):
    """Accepts connections on loopback; `close` closes them and waits for their threads."""

    # server_close() waits only for these.
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, centre: IdentityCenter, certificate: trustme.LeafCert) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.centre = centre
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self.tls)
        # Guards the two below.
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._closed = False

    def add(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
            if self._closed:
                end(connection)

    def remove(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def close(self) -> None:
        self.shutdown()
        with self._lock:
            self._closed = True
            for connection in self._connections:
                end(connection)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients may disconnect at any point, even in the TLS handshake.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def end(connection: socket.socket) -> None:
    """Wake the thread that uses a connection; closing alone would not."""
    with contextlib.suppress(OSError):
        # SSLSocket.shutdown() would destroy the TLS state that this thread still uses.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class ProxyHandler(BaseHTTPRequestHandler):
    """Accepts CONNECT, then serves HTTP inside TLS on the same connection."""

    protocol_version = "HTTP/1.1"
    server: Proxy
    host = ""

    def setup(self) -> None:
        super().setup()
        self.server.add(self.connection)

    def finish(self) -> None:
        self.server.remove(self.connection)
        with contextlib.suppress(OSError):
            super().finish()
        self.connection.close()

    def do_CONNECT(self) -> None:
        host, _, port = self.path.partition(":")
        if host not in HOSTS or port != "443":
            self.server.centre.refuse(host)
            self.send_error(403, f"{host} is not served here")
            return
        self.send_response(200, "Connection established")
        self.end_headers()
        self.server.remove(self.connection)
        self.request = self.server.tls.wrap_socket(
            self.connection, server_side=True, do_handshake_on_connect=False
        )
        self.setup()
        self.request.do_handshake()
        self.host = host
        # Older clients send CONNECT as HTTP/1.0; the tunnel stays open nevertheless.
        self.close_connection = False

    def do_GET(self) -> None:
        if not self.host:
            self.server.centre.refuse(urlsplit(self.path).hostname or "")
            self.send_error(403, "Only CONNECT is served here")
            return
        try:
            self._send(self.server.centre.reply(self._request()))
        except Hang:
            self.server.centre.wait_until_closed()
            self.close_connection = True
        except Reset:
            # With SO_LINGER 0, close sends a reset.
            self.request.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.close_connection = True

    do_POST = do_GET  # noqa: N815

    def _request(self) -> Request:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        parameters: dict[str, Any] = dict(parse_qsl(urlsplit(self.path).query))
        parameters.update(json.loads(body) if body.startswith("{") else parse_qsl(body))
        url = f"https://{self.host}{self.path}"
        return Request(HOSTS[self.host], self.command, url, self.headers, parameters)

    def _send(self, reply: Reply) -> None:
        content = reply.body.encode()
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: `calls`, `pages` and `refused` hold what happened."""


# --- Main -------------------------------------------------------------------------------


def main() -> None:
    """Print the environment of a centre as shell commands and serve until Ctrl-C."""
    with IdentityCenter() as centre:
        for name, value in centre.environment().items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            centre.wait_until_closed()


if __name__ == "__main__":
    main()
