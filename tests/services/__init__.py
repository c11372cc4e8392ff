"""Real servers for tests and benchmarks: started lazily, killed and restarted at will, data in a temporary folder."""

from tests.services.conditions import until
from tests.services.postgres import PostgresServer
from tests.services.processes import ServiceMissing, leftovers
from tests.services.redis import RedisServer, SentinelServer
from tests.services.tls import Certificates, make_certificates

__all__ = [
    "Certificates",
    "PostgresServer",
    "RedisServer",
    "SentinelServer",
    "ServiceMissing",
    "leftovers",
    "make_certificates",
    "until",
]
