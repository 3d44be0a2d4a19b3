"""The counters of a process, for Prometheus."""

from auth_diameter.metrics.collectors import client, disc, host
from auth_diameter.metrics.exporter import Exporter, bind

__all__ = ["Exporter", "bind", "client", "disc", "host"]
