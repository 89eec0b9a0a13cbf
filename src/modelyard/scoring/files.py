"""A version's files: which flavors they are, where the ONNX graph is, which contract they carry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.config import LONGEST_YAML, read_yaml
from modelyard.contract import FILE_NAME as CONTRACT_FILE
from modelyard.contract import Contract
from modelyard.errors import ConfigError, ModelRefusedError

_MLMODEL = "MLmodel"
_PYFUNC = "python_function"
_LISTED_FILES = 8


class VersionFiles:
    """The files of one version, read and not run.

    Attributes:
        folder: where they are.
        mlmodel: what MLflow wrote about them in `MLmodel`; empty without one.
        flavors: the flavors that `mlmodel` names, with their settings.
    """

    def __init__(self, folder: Path) -> None:
        """Read `MLmodel`.

        Raises:
            ModelRefusedError: a file is a link or a device, or MLmodel is not plain YAML.
        """
        for path in folder.rglob("*"):
            # a registry's store has files and folders only; a link leads out of what was verified
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ModelRefusedError(
                    f"{path.relative_to(folder)} is among the version's files and is no plain file."
                )
        self.folder = folder
        self.mlmodel: Mapping[str, Any] = {}
        if (folder / _MLMODEL).is_file():
            try:
                self.mlmodel = read_yaml(folder / _MLMODEL)
            except ConfigError as error:
                raise ModelRefusedError(f"The version's MLmodel cannot be read: {error}") from error
        flavors = self.mlmodel.get("flavors")
        self.flavors: Mapping[str, Any] = (
            {str(name): flavor for name, flavor in flavors.items()}
            if isinstance(flavors, dict)
            else {}
        )

    @property
    def is_onnx(self) -> bool:
        """Whether the model is an ONNX graph, and no code that MLflow would load."""
        return "onnx" in self.flavors or _PYFUNC not in self.flavors

    def contract(self) -> Contract | None:
        """The contract that the version carries, if it carries one.

        Raises:
            ModelRefusedError: it is not plain YAML.
            ContractError: it does not hold together.
        """
        path = self.folder / CONTRACT_FILE
        if not path.is_file():
            return None
        try:
            with path.open(encoding="utf-8") as file:  # what is too long is refused, not read
                return Contract.from_yaml(file.read(LONGEST_YAML + 1))
        except (ConfigError, UnicodeDecodeError) as error:
            raise ModelRefusedError(
                f"The version's {CONTRACT_FILE} cannot be read: {error}"
            ) from error

    def graph(self) -> Path:
        """The version's one ONNX file: the one that MLmodel names, or the only one there is.

        Raises:
            ModelRefusedError: there is none, or several that nothing tells apart.
        """
        onnx = self.flavors.get("onnx")
        named = onnx.get("data") if isinstance(onnx, dict) else None
        if isinstance(named, str):
            path = (self.folder / named).resolve()
            if path.is_relative_to(self.folder.resolve()) and path.is_file():
                return path
            raise ModelRefusedError(
                "MLmodel names an ONNX file that is not among the version's files."
            )
        graphs = sorted(self.folder.rglob("*.onnx"))
        if len(graphs) == 1:
            return graphs[0]
        raise ModelRefusedError(
            f"The version holds {len(graphs) or 'no'} ONNX graphs, and no flavor says what to "
            f"open: found {self.description()}.",
            fix="Register the model with MLflow's log_model, or with modelyard's training.",
        )

    def description(self) -> str:
        """What there is, for a refusal."""
        names = sorted(
            p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*") if p.is_file()
        )
        listed = ", ".join(names[:_LISTED_FILES]) + (", …" if len(names) > _LISTED_FILES else "")
        found = f"the flavors {', '.join(self.flavors)}" if self.flavors else "no MLmodel"
        return f"{found} and the files {listed}"
