"""Settings of the programs: flags over environment over TOML file over defaults.

One TOML file configures a whole yard: a table for each program (`[controller]`, `[agent]`, `[router]`).
"""

import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSuppress,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from modelyard.addresses import parse_address
from modelyard.errors import InvalidArgumentError
from modelyard.logs import LogFormat, LogLevel
from modelyard.sizes import parse_size

_WRONG_SETTINGS = 2  # as for a wrong flag
_PROGRAMS = ("controller", "agent", "router")


def _check_address(text: str) -> str:
    parse_address(text)
    return text


def _read_size(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


Address = Annotated[str, AfterValidator(_check_address)]
# A number of bytes, or text such as "4GiB".
Size = Annotated[int, BeforeValidator(_read_size)]


class ProgramSettings(BaseSettings):
    """What all programs can be told. Subclasses name themselves and add their own fields."""

    program: ClassVar[str]
    section: ClassVar[dict[str, Any]] = {}

    data: Path = Field(Path("modelyard-data"), description="folder for what must outlive a restart")
    config: Path | None = Field(None, description="TOML file with a table for each program; flags and environment win")
    log_level: LogLevel = Field("info", description="the least that is logged")
    log_format: LogFormat = Field("text", description="text for people, json for collectors")
    # For the process that starts this one: it gets one JSON line when the program is ready.
    ready_fd: CliSuppress[int | None] = None
    # Its closing stops the program.
    parent_fd: CliSuppress[int | None] = None

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

        Leaves the process with status 2 and a sentence on standard error where something is wrong, and after `--help`.
        """
        try:
            return cls.parse(arguments)
        except InvalidArgumentError as error:
            sys.stderr.write(f"modelyard {cls.program}: {error.message}\n")
            sys.exit(_WRONG_SETTINGS)

    @classmethod
    def parse(cls, arguments: list[str]) -> Self:
        """As `load`, and raises InvalidArgumentError where something is wrong with the environment or the file."""
        config_file = _find_config_option(arguments) or os.environ.get(f"{cls.model_config['env_prefix']}CONFIG")
        cls.section = read_config(Path(config_file)).get(cls.program, {}) if config_file else {}
        try:
            return CliApp.run(cls, cli_args=arguments)
        except SettingsError as error:
            raise InvalidArgumentError(str(error)) from error
        except ValidationError as error:
            lines = [f"  {_describe_problem(cls, problem)}" for problem in error.errors()]
            raise InvalidArgumentError("wrong settings\n" + "\n".join(lines)) from error


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


def _describe_problem(settings: type[ProgramSettings], problem: ErrorDetails) -> str:
    """pydantic puts a name of its own before what a check of ours says."""
    sentence = problem["msg"].removeprefix("Value error, ")
    return f"{_name_setting(settings, problem['loc'], problem['input'])}: {sentence}"


def _name_setting(settings: type[ProgramSettings], place: tuple[int | str, ...], value: object) -> str:
    """As its owner wrote it: on the command line, or in the file."""
    name = ".".join(map(str, place))
    if name in settings.section and settings.section[name] == value:
        return f"{name} in [{settings.program}] of the configuration file"
    return f"--{name.replace('_', '-')}"


def _find_config_option(arguments: list[str]) -> str | None:
    """Ahead of all others, since the file that it names says what their defaults are."""
    for index, argument in enumerate(arguments):
        if argument == "--config" and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith("--config="):
            return argument.removeprefix("--config=")
    return None


def read_config(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a yard's file, by program. Raises InvalidArgumentError that names the file and what is wrong."""
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not text
        raise InvalidArgumentError(f"{path} is not TOML: {error}") from error
    for name, table in tables.items():
        if name not in _PROGRAMS or not isinstance(table, dict):
            raise InvalidArgumentError(f"{path}: {name!r} is no table of a yard; wanted [{'], ['.join(_PROGRAMS)}]")
    return {name: {key.replace("-", "_"): value for key, value in table.items()} for name, table in tables.items()}
