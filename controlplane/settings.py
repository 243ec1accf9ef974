"""What the controller can be told."""

from pathlib import Path

from pydantic import Field

from controlplane.registry.opening import MAX_MODEL_BYTES, STALLED_UPLOAD_S
from modelyard.config import Address, ProgramSettings, Size, program_config


class ControllerSettings(ProgramSettings):
    """Keeps the models, places their replicas on nodes, and tells routers what is served where.

    Example: modelyard controller --listen 10.0.0.1:8010 --data /srv/yard/controller
    """

    program = "controller"
    model_config = program_config("controller")

    data: Path = Field(Path("modelyard-data/controller"), description="folder for what must outlive a restart")
    listen: Address = Field("127.0.0.1:8010", description="address for agents, routers and people")
    database_url: str = Field("", description="SQLAlchemy URL of the database; default: SQLite in --data")
    lineage_url: str = Field(
        "",
        description="SQLAlchemy URL of ML Metadata's database, sqlite:// for a file in --data; default: --database-url",
    )
    artifacts_url: str = Field(
        "",
        description="where model files are kept, a folder or URL (hdfs://, s3://, ...); default: in --data",
    )
    uri_prefixes: tuple[str, ...] = Field(
        (),
        description="what a URI must begin with to be registered from, such as s3://models; default: anything, "
        "which lets whoever can register read with the controller's rights",
    )
    max_model_bytes: Size = Field(MAX_MODEL_BYTES, gt=0, description="the largest model file that can be registered")
    stalled_upload_s: float = Field(
        STALLED_UPLOAD_S, gt=0, description="a registration of whose file no byte comes for so long is ended"
    )
    max_message_bytes: Size = Field(64 << 20, gt=0, description="the largest gRPC message, either way")
    node_lost_after_s: float = Field(
        30.0, ge=0, description="after so long without a word from a node its replicas are placed elsewhere"
    )
    router_lost_after_s: float = Field(
        30.0, ge=0, description="for so long after its last word a router is taken to send requests by its last routes"
    )
    startup_grace_s: float = Field(
        10.0, ge=0, description="for so long after the controller's start nobody is lost and nothing is stopped"
    )
