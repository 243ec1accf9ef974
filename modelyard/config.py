"""Settings of the programs: flags over environment over TOML file over defaults.

One TOML file configures a whole yard: a table for each program (`[controller]`, `[agent]`, `[router]`).
"""

import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, CliApp, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from modelyard.logs import LogFormat


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "host:port" ("[::1]:80" for IPv6). Raises ValueError that says what is wanted."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address: wanted HOST:PORT, as in 127.0.0.1:8010 (port 0: any free one)")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _check_address(text: str) -> str:
    parse_address(text)
    return text


Address = Annotated[str, AfterValidator(_check_address)]


class ProgramSettings(BaseSettings):
    """What all programs can be told. Subclasses name themselves and add their own fields."""

    program: ClassVar[str]
    section: ClassVar[dict[str, Any]] = {}

    data: Path = Field(Path("modelyard-data"), description="folder for what must outlive a restart")
    log_level: str = Field("info", description="debug, info, warning or error")
    log_format: LogFormat = Field("text", description="text for people, json for collectors")
    ready_fd: int | None = Field(None, description="file descriptor that gets one JSON line when the program is ready")
    parent_fd: int | None = Field(None, description="file descriptor whose closing stops the program")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        from pydantic_settings import InitSettingsSource

        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=cls.section)

    @classmethod
    def load(cls, arguments: list[str]) -> Self:
        """Settings from the command line, the environment and the file that `--config FILE` names.

        Leaves the process with a sentence on standard error where something is wrong, and after `--help`.
        """
        config_file, arguments = _take_config_option(arguments)
        try:
            cls.section = _read_section(config_file, cls.program) if config_file else {}
            return CliApp.run(cls, cli_args=arguments)
        except (OSError, tomllib.TOMLDecodeError, SettingsError) as error:
            sys.exit(f"modelyard {cls.program}: {error}")
        except ValidationError as error:
            lines = [f"  --{'.'.join(map(str, e['loc'])).replace('_', '-')}: {e['msg']}" for e in error.errors()]
            sys.exit(f"modelyard {cls.program}: wrong settings\n" + "\n".join(lines))


def program_config(program: str) -> SettingsConfigDict:
    """The `model_config` of a program's settings: flags in kebab case, MODELYARD_<PROGRAM>_* in the environment."""
    return SettingsConfigDict(
        env_prefix=f"MODELYARD_{program.upper()}_",
        cli_prog_name=f"modelyard {program}",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        extra="forbid",
    )


def _take_config_option(arguments: list[str]) -> tuple[Path | None, list[str]]:
    for index, argument in enumerate(arguments):
        if argument == "--config" and index + 1 < len(arguments):
            return Path(arguments[index + 1]), arguments[:index] + arguments[index + 2 :]
        if argument.startswith("--config="):
            return Path(argument.removeprefix("--config=")), arguments[:index] + arguments[index + 1 :]
    return None, arguments


def _read_section(path: Path, program: str) -> dict[str, Any]:
    section = tomllib.loads(path.read_text()).get(program, {})
    if not isinstance(section, dict):
        raise SettingsError(f"{path}: {program!r} must be a table: [{program}]")
    return {key.replace("-", "_"): value for key, value in section.items()}
