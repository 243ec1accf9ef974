"""All commands put together. What a command needs is imported when it runs, so that --help is quick."""

import typer

from modelyard.cli import (
    cluster,
    comparison,  # noqa: F401 # adds its command to alias_app
    deployments,
    history,
    infer,
    lineage,
    logs,
    options,
    programs,
    purge,
    register,
    registry,
    show,
    transfer,
    up,
    versions,
)
from modelyard.cli.aliases import alias_app
from modelyard.cli.errors import YardGroup
from modelyard.cli.node import node_app

_EPILOG = (
    "Exit codes: 0 done; 1 the yard said no; 2 wrong command line; 3 no yard answers; "
    "4 not in the time given; 130 interrupted."
)


def make_app() -> typer.Typer:
    app = typer.Typer(
        name="modelyard",
        cls=YardGroup,
        no_args_is_help=True,
        help="Serve machine-learning models on your own hosts.",
        epilog=_EPILOG,
        rich_markup_mode=options.MARKUP_MODE,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    example = "Example: modelyard "
    app.command(epilog=example + "up --data /srv/yard --listen 0.0.0.0:8001")(up.up)
    programs.add_programs(app)
    app.command(epilog=example + "register resnet resnet.onnx --metric top1=0.76 --param epochs=90")(register.register)
    _add_registry(app, example)
    app.add_typer(alias_app, name="alias")
    app.command(epilog=example + "history resnet --alias production --at '2026-03-01 14:30'")(history.history)
    app.command(epilog=example + "rollback resnet --reason 'wrong on night images'")(history.rollback)
    app.command(epilog=example + "deploy resnet --replicas 2 --gpu-share 25 --gpu-memory 4GiB --max-batch 16")(
        deployments.deploy
    )
    app.command(epilog=example + "undeploy resnet --alias staging")(deployments.undeploy)
    app.command(epilog=example + "infer resnet --alias staging --input x=@image.npy")(infer.infer)
    app.command(epilog=example + "replicas resnet")(cluster.replicas)
    app.command(epilog=example + "logs resnet-production-v3-1 --follow")(logs.logs)
    app.command(epilog=example + "nodes")(cluster.nodes)
    app.add_typer(node_app, name="node")
    app.command(epilog=example + "status --json")(cluster.status)
    return app


def _add_registry(app: typer.Typer, example: str) -> None:
    app.command(epilog=example + "models --json")(registry.models)
    app.command(epilog=example + "versions resnet --filter 'metrics.top1 > 0.9' --order-by metrics.top1 --desc")(
        registry.versions
    )
    app.command(epilog=example + "show resnet@3")(show.show)
    app.command(epilog=example + "update resnet@3 --tag team=vision --reason 'handed over'")(versions.update)
    app.command(epilog=example + "lineage resnet@3")(lineage.lineage)
    app.command(epilog=example + "fetch resnet@3 resnet.onnx")(transfer.fetch)
    app.command(epilog=example + "export resnet@3 resnet-3")(transfer.export)
    app.command("import", epilog=example + "import resnet-3 --as resnet")(transfer.import_)
    app.command(epilog=example + "delete resnet@3 --reason 'wrong labels'")(versions.delete)
    app.command(epilog=example + "restore resnet@3")(versions.restore)
    app.command(epilog=example + "purge --older-than 30d --dry-run")(purge.purge)
