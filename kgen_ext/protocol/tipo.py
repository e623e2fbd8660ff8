r"""TIPO's text format: metadata lines, a target line, then fields in the order the task names.

    <metadata lines>
    target: <|LENGTH|> <|TASK|> <|gen_meta|>
    <first field>: ...
    <next field>: ...

Only short_to_long has no `<|LENGTH|>`. A request whose first field is `tag` ends inside that line, without a comma or
a space; one that begins with text ends with the newline after it. Special tokens are spelled out. Source: UwULLM
src/dataset/tipo.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from kgen_ext.errors import BadValue
from kgen_ext.prompt.sentences import count_sentences
from kgen_ext.protocol.plan import (
    TIPO_LONG_TEXT,
    TIPO_TAGS,
    FieldPlan,
    MetaField,
    Plan,
    Subject,
    TagField,
    TextField,
    ask_length,
    aspect_ratio,
    join_tags,
    plain,
    short_text_band,
    trained_tag,
)
from kgen_ext.request import Category, TagLength, Task, TextLength

SPECIAL_TOKENS: tuple[str, ...] = (
    "<|empty|>",
    *(f"<|{length.value}|>" for length in TIPO_TAGS),
    *(f"<|{task}|>" for task in (
        "tag_to_long", "long_to_tag", "short_to_tag", "short_to_long", "tag_to_short_to_long",
        "short_to_tag_to_long", "short_to_long_to_tag", "gen_meta",
    )),
)  # fmt: skip

# Header of each metadata line. `aspect ratio` (with a space) is the seventh and comes from the size.
META_KEYS: dict[Category, str] = {
    Category.RATING: "rating",
    Category.QUALITY: "quality",
    Category.META: "meta",
    Category.ARTIST: "artist",
    Category.COPYRIGHTS: "copyrights",
    Category.CHARACTERS: "characters",
}


# Everything that a line of a TIPO text can begin with.
HEADERS: tuple[str, ...] = ("tag", "short", "long", "target", "aspect ratio", *META_KEYS.values())


def task_fields(task: Task) -> tuple[str, ...]:
    """Return the fields of a task in order: `tag_to_long` -> ("tag", "long")."""
    return tuple(task.value.split("_to_"))


def target_line(task: Task, length: TagLength, *, gen_meta: bool = False) -> str:
    """Render the target line without its newline."""
    parts = [] if task is Task.SHORT_TO_LONG else [f"<|{length.value}|>"]
    if task is not Task.TAG:
        parts.append(f"<|{task.value}|>")
    if gen_meta:
        parts.append("<|gen_meta|>")
    return "target: " + " ".join(parts)


def request_text(
    *, tags: str | Sequence[str], meta: Mapping[str, str | None], task: str | None, length: str, text: str
) -> str:
    """Render a request as the models' author does, metadata in the order given.

    `tags` is a comma-separated string or a list; absent metadata values are None or "". An empty `tag:` field ends in
    a space, as in the author's helper; `Plan.request` never does. Raises BadValue for an unknown task or length.
    """
    try:
        kind = Task(task or "tag")
        if kind is Task.AUTO:
            raise ValueError(task)
    except ValueError:
        raise BadValue("task", task, [known.value for known in Task if known is not Task.AUTO]) from None
    try:
        size = TagLength(length)
        if size not in TIPO_TAGS:
            raise ValueError(length)
    except ValueError:
        raise BadValue("length", length, [known.value for known in TIPO_TAGS]) from None
    listed = tags.split(",") if isinstance(tags, str) else tags
    seeded = join_tags(trained_tag(tag.strip()) for tag in listed)
    lines = [f"{key}: {value}\n" for key, value in meta.items() if value]
    first = task_fields(kind)[0]
    body = f"tag: {seeded}" if first == "tag" else f"{first}: {text}\n"
    return "".join(lines) + target_line(kind, size) + "\n" + body


def choose_task(subject: Subject, *, wants_text: bool) -> Task:
    """Choose the trained task for what is given and what is wanted; one decode writes both tags and text."""
    if not subject.text:
        return Task.TAG_TO_LONG if wants_text else Task.TAG
    if wants_text:
        return Task.SHORT_TO_TAG_TO_LONG
    # Training cut `short:` texts (at 6 sentences or fewer); a longer text is a `long:` one.
    return Task.LONG_TO_TAG if count_sentences(subject.text) > 4 else Task.SHORT_TO_TAG


def plan(
    subject: Subject,
    *,
    task: Task,
    tag_length: TagLength,
    text_length: TextLength,
    gen_meta: Sequence[Category] = (),
    write_tags: bool = True,
) -> Plan:
    """Return the request for a subject and the fields to write.

    gen_meta: metadata categories the model may add; those the subject has are not asked for again. When a task begins
    with text and the subject has none, the model writes that text, too. text_length: NONE gives text fields the bands
    of `short`, since a chosen task may still write them. write_tags: False shows the subject's tags as a finished list,
    whatever `tag_length` says, and only text is written; raises BadValue when the task has no text to write.
    """
    if task is Task.AUTO:
        task = choose_task(subject, wants_text=text_length is not TextLength.NONE)
        if not write_tags and not subject.visible_tags:
            task = Task.SHORT_TO_LONG  # an empty list was never followed by text in training
    count = len(subject.tags)
    if not write_tags:
        tag_length, gen_meta = _size(count), ()
    asked, band = ask_length(tag_length, given=count, bands=TIPO_TAGS)
    words = TextLength.SHORT if text_length is TextLength.NONE else text_length
    present = {category for category, values in subject.meta if values}
    wanted = [category for category in META_KEYS if category in gen_meta and category not in present]
    missing = tuple((META_KEYS[category], category) for category in wanted)
    head = _meta_lines(subject) + target_line(task, asked, gen_meta=bool(missing)) + "\n"

    request, fields = head, list[FieldPlan]()
    shown = [tag for tag in map(plain, subject.visible_tags) if tag]
    text = plain(subject.text)
    names = task_fields(task)
    if not write_tags:
        while names and names[-1] == "tag":
            names = names[:-1]  # a finished list with nothing behind it
    closed = ""
    for index, name in enumerate(names):
        header = f"{name}:"
        if index == 0 and name != "tag" and text:
            request += f"{header} {text}\n"
            continue
        if name == "tag" and shown:
            header += " " + join_tags(shown)
        if name == "tag" and not write_tags:
            closed += header + "\n"
            continue
        header = closed + header
        closed = ""
        if fields:
            header = "\n" + header
        else:
            request, header = request + header, ""
        if name == "tag":
            fields.append(TagField(name, header, count, band, fresh=not shown))
        else:
            text_band = short_text_band(words) if name == "short" else TIPO_LONG_TEXT[words]
            fields.append(TextField(name, header, text_band))
    if missing:
        fields.append(MetaField(missing))
    if not fields:
        raise BadValue("task", task.value, "a task that writes text: no_tags leaves this one nothing to write")
    return Plan(request, tuple(fields))


def _size(count: int) -> TagLength:
    return next((size for size, band in TIPO_TAGS.items() if count <= band.maximum), TagLength.VERY_LONG)


def _meta_lines(subject: Subject) -> str:
    # The line that rarely differs comes first, so that rows share a longer prefix; training shuffled the lines.
    lines = [f"aspect ratio: {aspect_ratio(subject.width, subject.height)}\n"]
    given = dict(subject.meta)
    for category, key in META_KEYS.items():
        values = given.get(category, ())
        if category is Category.QUALITY:
            values = values[:1]  # training used the first quality tag only
        if value := plain(join_tags(values)):
            lines.append(f"{key}: {value}\n")
    return "".join(lines)
