"""The code of an old version in a folder: the same as here, handed over, or from git."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from modelyard.errors import ReproductionError
from modelyard.provenance import read_pointer
from modelyard.recorded_code import FoundCode, write_archive
from modelyard.reproduction.source import CodeSource, lay_out
from modelyard.source_tree import tree_id
from support.repository import Repository, code_tags

DATA = {"data.path": "t.parquet", "data.md5": "5" * 32, "data.size_bytes": "7"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    return tmp_path / "code"


def tags(commit: str, tree: str = "", **more: str) -> dict[str, str]:
    return {**DATA, **code_tags(commit, tree, **more)}


def archive_of(repository: Repository, commit: str) -> io.BytesIO:
    """What `make reproduce` hands over."""
    path = repository.folder.parent / "archive.tar"
    with path.open("wb") as file:
        write_archive(FoundCode(commit), repository.root, file)
    return io.BytesIO(path.read_bytes())


def in_image(
    tmp_path: Path, folder: Path, archive: io.BytesIO, found: dict[str, str]
) -> CodeSource:
    """Where there is no git, and other code."""
    (tmp_path / "app/src").mkdir(parents=True)
    (tmp_path / "app/src/a.py").write_text("x = 9\n")
    return lay_out(found, tmp_path / "app", "b" * 40, folder, archive)


def test_code_that_is_here_as_recorded_is_copied_without_git(repository: Repository, folder: Path):
    source = lay_out(tags("unknown", repository.second_tree), repository.root, "", folder)
    assert (folder / "src/a.py").read_text() == "x = 2\n"
    assert (folder / "entrypoint.sh").is_file()
    assert source.recorded == ""
    pointer = read_pointer(folder / "data", "t.parquet")
    assert (pointer.md5, pointer.size_bytes) == ("5" * 32, 7)


def test_an_older_commit_is_taken_from_git_and_the_checkout_is_left_alone(
    repository: Repository, folder: Path
):
    source = lay_out(tags(repository.first, repository.first_tree), repository.root, "", folder)
    assert (folder / "src/a.py").read_text() == "x = 1\n"
    assert (repository.root / "src/a.py").read_text() == "x = 2\n"
    assert repository.git("status", "--porcelain") == ""
    assert (source.commit, source.recorded) == (repository.first, "")


def test_an_image_takes_the_commit_that_is_handed_over(
    repository: Repository, folder: Path, tmp_path: Path
):
    archive = archive_of(repository, repository.first)
    wanted = tags(repository.first, repository.first_tree)
    source = in_image(tmp_path, folder, archive, wanted)
    assert (folder / "src/a.py").read_text() == "x = 1\n"
    assert (source.commit, source.recorded) == (repository.first, "")
    assert f"commit {repository.first[:12]}, whose src/ is tree" in source.where


def test_an_image_that_has_the_code_itself_does_not_need_what_is_handed_over(
    repository: Repository, folder: Path
):
    """A tree with changes that were never committed may live on in its image only."""
    archive = archive_of(repository, repository.first)
    wanted = tags(repository.first, repository.second_tree, **{"git.dirty": "true"})
    source = lay_out(wanted, repository.root, "", folder, archive)
    assert (folder / "src/a.py").read_text() == "x = 2\n"
    assert source.recorded == ""


def test_another_commit_that_is_handed_over_is_a_difference(
    repository: Repository, folder: Path, tmp_path: Path
):
    archive = archive_of(repository, repository.second)
    wanted = tags(repository.first, repository.first_tree)
    source = in_image(tmp_path, folder, archive, wanted)
    assert source.recorded == f"commit {repository.first[:12]}"
    assert source.now == f"commit {repository.second[:12]}"


def test_what_is_handed_over_is_identified_by_content_where_no_commit_names_it(
    repository: Repository, folder: Path, tmp_path: Path
):
    archive = archive_of(repository, "")
    wanted = tags("a" * 40, repository.second_tree, **{"git.dirty": "true"})
    source = in_image(tmp_path, folder, archive, wanted)
    assert (source.commit, source.recorded) == ("a" * 40, "")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "not handed over as a tar"), (b"no tar" * 200, "not handed over as a tar")],
)
def test_what_is_not_an_archive_is_refused(tmp_path: Path, folder: Path, content: bytes, said: str):
    with pytest.raises(ReproductionError, match=said):
        in_image(tmp_path, folder, io.BytesIO(content), tags("a" * 40, "f" * 40))


def test_an_archive_without_src_or_with_a_way_out_is_refused(tmp_path: Path, folder: Path):
    way_out = "not handed over as a tar"
    for name, link, said in (
        ("README", "", "no folder src"),
        ("../src/a.py", "", way_out),
        ("/src/a.py", "", way_out),
        ("src/a.py", "../../a.py", way_out),
        ("src/a.py", "/etc/passwd", way_out),
    ):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = (tarfile.SYMTYPE if link else tarfile.REGTYPE), link
            archive.addfile(member)
        file.seek(0)
        with pytest.raises(ReproductionError, match=said):
            lay_out(tags("a" * 40, "f" * 40), tmp_path, "", folder, file)


def test_a_link_within_the_code_is_kept(repository: Repository, folder: Path):
    (repository.root / "src/b.py").symlink_to("a.py")
    commit, tree = repository.commit("x = 4\n")
    repository.commit("x = 5\n")
    lay_out(tags(commit, tree), repository.root, "", folder)
    assert (folder / "src/b.py").read_text() == "x = 4\n"


def test_without_a_commit_the_one_with_the_same_content_is_found(
    repository: Repository, folder: Path
):
    source = lay_out(tags("unknown", repository.first_tree), repository.root, "", folder)
    assert source.commit == repository.first
    assert (folder / "src/a.py").read_text() == "x = 1\n"


def test_a_dirty_tree_that_is_gone_is_a_difference_with_its_files(
    repository: Repository, folder: Path
):
    changed = {"git.dirty": "true", "git.changed": "\n".join(f"src/{i}.py" for i in range(9))}
    source = lay_out(tags(repository.first, "f" * 40, **changed), repository.root, "", folder)
    assert "never committed (src/0.py, " in source.recorded
    assert "and 4 more" in source.recorded


def test_a_dirty_tree_of_an_image_says_why_its_files_are_not_known(
    repository: Repository, folder: Path, tmp_path: Path
):
    archive = archive_of(repository, repository.first)
    wanted = tags(repository.first, "f" * 40, **{"git.dirty": "true"})
    source = in_image(tmp_path, folder, archive, wanted)
    assert "which files is not on record" in source.recorded
    assert source.now == f"commit {repository.first[:12]} without them"


def test_a_dirty_tree_that_is_still_here_does_not_differ(repository: Repository, folder: Path):
    (repository.root / "src/a.py").write_text("x = 3\n")
    tree = tree_id(repository.root / "src")
    source = lay_out(
        tags(repository.second, tree, **{"git.dirty": "true"}), repository.root, "", folder
    )
    assert source.recorded == ""
    assert (folder / "src/a.py").read_text() == "x = 3\n"


@pytest.mark.parametrize(
    ("commit", "tree", "said"),
    [
        ("a" * 40, "f" * 40, "The code of commit aaaa"),
        ("unknown", "f" * 40, "no commit is on record"),
        ("unknown", "", "neither a commit nor a tree"),
    ],
)
def test_code_that_is_nowhere_is_an_error_with_a_fix(
    repository: Repository, folder: Path, commit: str, tree: str, said: str
):
    with pytest.raises(ReproductionError, match=said) as caught:
        lay_out(tags(commit, tree), repository.root, "", folder)
    assert caught.value.fix


def test_changes_that_are_gone_with_their_commit_are_named(repository: Repository, folder: Path):
    changed = {"git.dirty": "true", "git.changed": "src/model.py"}
    with pytest.raises(ReproductionError, match=r"never committed \(src/model.py\), is not avail"):
        lay_out(tags("a" * 40, "f" * 40, **changed), repository.root, "", folder)


def test_an_image_says_what_it_was_built_from_and_which_command_hands_the_code_over(
    tmp_path: Path, folder: Path
):
    with pytest.raises(ReproductionError, match="this image was built from bbbb") as caught:
        lay_out(tags("a" * 40, "f" * 40), tmp_path, "b" * 40, folder)
    assert "git fetch" in caught.value.fix
    assert "make reproduce" in caught.value.fix
