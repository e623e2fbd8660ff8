"""Requests for the service, from the values of a node's inputs.

Values may come over links, so each is checked here, whatever its widget allows. Names of z-tipo-extension's models and
operations, which its saved workflows carry along, are understood.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kgen_ext.comfy import host
from kgen_ext.comfy.inputs import RECOMMENDED
from kgen_ext.controls import BY_MODEL, CUSTOM, SHARED, check_value
from kgen_ext.errors import BadValue
from kgen_ext.request import MAX_SEED, NO_PRIOR, ExpandRequest, Task, TextLength, split_list
from kgen_ext.rules.known import ANY
from kgen_ext.sampling import SAMPLING_NAMES, Sampling

if TYPE_CHECKING:
    from kgen_ext.models import FoundModel, Model, ModelFiles

# Tasks that end in tags: the others write text.
_TAGS_ONLY = (Task.TAG, Task.LONG_TO_TAG, Task.SHORT_TO_TAG)
# Operations of z-tipo-extension that the models were not trained on, and the task that begins like them.
_OLD_TASKS = {
    "none": Task.TAG, "tag_to_short": Task.TAG_TO_SHORT_TO_LONG, "tag_to_long_to_short": Task.TAG_TO_LONG,
}  # fmt: skip


def make_request(values: Mapping[str, Any], prompt: object, *, seed: object, count: int = 1) -> ExpandRequest:
    """Build the request for one prompt. Raises BadValue that names the input.

    values: of a node's inputs by name; one that the node has not is as its default.
    """
    return ExpandRequest(
        prompt=prompt,  # type: ignore[arg-type] # checked there
        text=values.get("text", ""),
        tag_length=_by_model(values.get("tag_length", RECOMMENDED)),
        **_wanted(values),
        format=read_format(values),
        ban=(*split_list("ban", values.get("ban", "")), *(f"category:{group}" for group in _read(values, "lock", ""))),
        require=values.get("require", ""),
        rules=values.get("rules", ""),
        protect=values.get("protect", ""),
        allow=_read(values, "allow", ""),
        allow_contradictions=values.get("allow_contradictions", False),
        tag_file=ANY if _read(values, "any_tag", False) else "",
        yours="" if (yours := values.get("yours", NO_PRIOR)) == NO_PRIOR else yours,
        prior=_set_here(values.get("prior", BY_MODEL)),
        seed=mask_seed(seed),
        count=count,
        width=values.get("width", 1024),
        height=values.get("height", 1024),
        **_sampling(values),
    )


def mask_seed(seed: object) -> int:
    """Return a seed of ComfyUI's, which may have 64 bits or be negative, in the range of a request's.

    >>> mask_seed(3), mask_seed(2**64 - 1) == MAX_SEED
    (3, True)
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise BadValue("seed", seed, "a whole number")
    return seed & MAX_SEED


def read_format(values: Mapping[str, Any]) -> str:
    """Return what `ExpandRequest.format` takes: a name or a template."""
    name, template = values.get("format", "append"), values.get("template", "")
    if name != CUSTOM:
        return str(name)
    if not isinstance(template, str) or not template.strip():
        raise BadValue("template", template, "one such as <|prompt|>, <|general|>; or choose another Format")
    return template


def read_task(value: object) -> Task:
    """Return a task by its name, or by that of an operation of z-tipo-extension; raises BadValue.

    >>> read_task("tag_to_long"), read_task("None")
    (<Task.TAG_TO_LONG: 'tag_to_long'>, <Task.TAG: 'tag'>)
    """
    if isinstance(value, str) and value.lower() in _OLD_TASKS:
        return _OLD_TASKS[value.lower()]
    names = [task.value for task in Task if task is not Task.AUTO]
    if value not in names:
        raise BadValue("task", value, names)
    return Task(value)


def _by_model(value: object) -> Any:
    return None if value == RECOMMENDED else value


def _wanted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that say what is written: the task or what to add, and how many sentences."""
    length = values.get("text_length", TextLength.NONE)
    if "task" in values:
        task = read_task(values["task"])
        return {"task": task, "text_length": TextLength.NONE if task in _TAGS_ONLY else length}
    add = values.get("add", "tags")
    if add == RECOMMENDED:
        return {}
    added = _read(values, "add", "tags")
    return {"text_length": TextLength.NONE if added == "tags" else length, "no_tags": added == "text"}


def _read(values: Mapping[str, Any], field: str, default: Any) -> Any:
    """Return the value of an input that has a control. Raises BadValue that names the values, not the labels."""
    control = SHARED[field]
    try:
        return check_value(control, values.get(field, default))
    except BadValue as error:
        if not control.choices:
            raise BadValue(field, error.value, "true or false") from None
        raise BadValue(field, error.value, [value for value, _ in control.choices]) from None


def _sampling(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling options: those of the linked node, else the node's own; None leaves one to the model."""
    linked = values.get("sampling")
    if linked is not None and not isinstance(linked, Sampling):
        raise BadValue("sampling", linked, "the output of a node “Sampling options”")
    found = {name: getattr(linked, name) if linked else values.get(name, BY_MODEL) for name in SAMPLING_NAMES}
    return {name: _set_here(value) for name, value in found.items()}


def _set_here(value: Any) -> Any:
    return None if value == BY_MODEL else value


# Models.


def find_files(name: object, *, dantaggen: bool = False) -> ModelFiles:
    """Return the files of an installed model. Raises UnknownModel with the download that helps, BadValue.

    dantaggen: accept models of that family only.
    """
    from kgen_ext.models import load_catalogue, resolve

    if not isinstance(name, str) or not name:
        raise BadValue("model", name, "the name of a model")
    places = host.locations()
    if "/" in name:
        name = _of_tipo(name, load_catalogue(places.user_file))
    files = resolve(name, locations=places, paths=False)
    if dantaggen and files.entry is not None and files.entry.protocol != "dtg":
        raise BadValue("model", name, "a DanTagGen model; “Expand prompt” runs the others")
    return files


def _of_tipo(name: str, known: Sequence[Model]) -> str:
    """Return our name for `OWNER/REPO | FILE.gguf` or `OWNER/REPO`, as z-tipo-extension saves a model."""
    repo, _, file = (part.strip() for part in name.partition("|"))
    model = next((model for model in known if model.repo == repo), None)
    if model is None:
        return name
    variant = next((offered.variant for offered in model.files if offered.name == file), "")
    return f"{model.id}:{variant}" if variant and model.files[0].variant != variant else model.id


def model_names(*, dantaggen: bool = False) -> tuple[str, ...]:
    """Return the names to offer: installed models first, then those of the catalogue that can be downloaded."""
    from kgen_ext.models import STARTER, choices, find_models, load_catalogue
    from kgen_ext.models.scan import FULL

    places = host.locations()
    known = load_catalogue(places.user_file)
    protocol = "dtg" if dantaggen else "tipo"
    wanted = [model for model in known if not dantaggen or model.protocol == protocol]

    def offered(found: FoundModel) -> bool:
        return not dantaggen or found.model is None or found.model.protocol == protocol

    installed = choices(found for found in find_models(places, models=known) if offered(found))
    listed = (
        model.id if file.variant in (*FULL, "") else f"{model.id}:{file.variant}"
        for model in wanted if model.repo for file in model.files
    )  # fmt: skip
    return tuple(dict.fromkeys((*(() if dantaggen else (STARTER,)), *installed, *listed)))


def check_prior(name: object) -> None:
    """Raise UserError where there is no such table of the user's."""
    from kgen_ext.models.priors import find_prior

    if name != NO_PRIOR:
        find_prior(str(name))


def fingerprint(name: object, yours: object) -> str:
    """Return what a result depends on that the inputs do not say: KGen's version, and those of the model's files.

    yours: the table of the user's tags, which may be counted anew.
    """
    from kgen_ext import __version__
    from kgen_ext.errors import KGenError
    from kgen_ext.models.priors import find_prior
    from kgen_ext.rules.known import file_version

    try:
        files = find_files(name)
        own = "" if yours == NO_PRIOR else file_version(find_prior(str(yours)))
        return f"{__version__} {files.checksum()} {file_version(files.prior())} {own}"
    except (KGenError, OSError) as error:
        return f"{__version__} {error}"  # so that the node runs again, and says so, until all is there
