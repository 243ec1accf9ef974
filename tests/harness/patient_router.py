"""`python -m tests.harness.patient_router`: the router, for replicas that live in the process of a test.

They all stand still together where that process gets no CPU for some seconds. Envoy then takes each for one that hangs,
and a request that has met three of them fails, as it should; but that is not what such a test is about. So a replica
here has a minute to answer Envoy's pings.
"""

from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from router.main import main
from router.xds import clusters

_http2_to_replicas = clusters._http2_to_replicas


def _patient_http2_to_replicas() -> http_protocol_options_pb2.HttpProtocolOptions:
    options = _http2_to_replicas()
    options.explicit_http_config.http2_protocol_options.connection_keepalive.timeout.seconds = 60
    return options


if __name__ == "__main__":
    vars(clusters)["_http2_to_replicas"] = _patient_http2_to_replicas
    main()
