"""A published library: openwisp-ipam's `Subnet.request_ip`, on Django and SQLite.

It was chosen among what the package index has because it is the one that allocates inside the
caller's process, is kept up, has users, and may be used by anybody (BSD-3-Clause). It is used as a
Django project would: its applications, its migrations, Django's own defaults for SQLite (rollback
journal, `synchronous=FULL`, so durable). Two calls at once choose the same address, since it is
chosen and saved without a lock, and no constraint of the database refuses the second.
"""

from __future__ import annotations

import importlib
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.peer import ConflictError, Held, Job, Peer, filler
from benchmarks.peers.sqlite import COMMIT

_APPLICATIONS: Final = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages", "django.contrib.sites", "django.contrib.staticfiles",
    "allauth", "allauth.account", "allauth.socialaccount", "organizations",
    "openwisp_utils.admin_theme", "openwisp_users", "openwisp_ipam", "django.contrib.admin",
    "reversion", "rest_framework", "rest_framework.authtoken", "django_filters",
]  # fmt: skip


class Openwisp(Peer):
    """Subnets and addresses as rows of Django models."""

    name = "openwisp-ipam, Subnet.request_ip"
    ceiling = COMMIT
    needs = "openwisp_ipam"
    asked_at_half = False  # one call takes seconds there

    def __init__(self, path: Path, job: Job) -> None:
        """Set Django up, which a process can do once, and create the tables."""
        django: Any = importlib.import_module("django")
        _configure(path)
        django.setup()
        self._connections: Any = importlib.import_module("django.db").connections
        # Hundreds of small commits, none of which anybody waits for: not worth an fsync each.
        cursor = self._connections["default"].cursor()
        cursor.execute("PRAGMA synchronous=OFF")
        importlib.import_module("django.core.management").call_command("migrate", verbosity=0)
        cursor.execute("PRAGMA synchronous=FULL")
        models: Any = importlib.import_module("openwisp_ipam.models")
        invalid = importlib.import_module("django.core.exceptions").ValidationError
        busy = importlib.import_module("django.db.utils").OperationalError
        self._conflicts: tuple[type[Exception], ...] = (invalid, busy)
        self._address: Any = models.IpAddress
        self._job = job
        self._subnet: Any = models.Subnet(name="bench", subnet=str(job.prefix))
        self._subnet.full_clean()
        self._subnet.save()

    def acquire(self, owner: str) -> Held:
        """See `Peer.acquire`."""
        try:
            row = self._subnet.request_ip({"description": owner})
        except self._conflicts as error:
            raise ConflictError(str(error)) from error
        return Held(int(IPv4Address(row.ip_address)), row)

    def release(self, held: Held) -> None:
        """See `Peer.release`."""
        held.handle.delete()

    def fill_to(self, taken: int) -> None:
        """See `Peer.fill_to`: rows by the hundred, past the model's checks."""
        held = set(self._address.objects.values_list("ip_address", flat=True))
        rows = []
        for index, host in enumerate(self._job.prefix.hosts()):
            if index == taken:
                break
            if str(host) not in held:
                rows.append(
                    self._address(
                        subnet=self._subnet, ip_address=str(host), description=filler(index)
                    )
                )
        self._address.objects.bulk_create(rows, batch_size=500)

    def leave(self) -> None:
        """See `Peer.leave`."""
        self._connections.close_all()

    def close(self) -> None:
        """See `Peer.close`."""
        self.leave()


def _configure(path: Path) -> None:
    """The settings of a project that has nothing but openwisp-ipam and what it needs."""
    importlib.import_module("django.conf").settings.configure(
        SECRET_KEY="of a benchmark",  # noqa: S106 - nobody signs in
        SITE_ID=1,
        USE_TZ=True,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}},
        INSTALLED_APPS=_APPLICATIONS,
        MIDDLEWARE=["allauth.account.middleware.AccountMiddleware"],
        AUTHENTICATION_BACKENDS=["openwisp_users.backends.UsersAuthenticationBackend"],
        AUTH_USER_MODEL="openwisp_users.User",
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        ROOT_URLCONF="benchmarks.peers.openwisp",
    )
