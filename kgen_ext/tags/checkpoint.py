"""Checkpoint words: what a prompt tells the image model about the quality, the make or the artist of the picture.

    quality   8k, highly detailed, extremely detailed eyes and face, score_10, amazing quality
    meta      raw photo, octane render, trending on artstation, year 2024
    rating    rating_safe, rating: general
    artist    by NAME, art by NAME and NAME, in the style of NAME

A tag is of the first two kinds if one of its words is (`detailed`) and all others only go with such words
(`extremely`, `face`). So `detailed face` says how good the picture is, and `detailed armor` says what is in it. A NAME
is an artist of the lists, or one to four words of which none is a tag or a common word: `by the window` and
`by candlelight` name no artist. All functions take comparison forms.
"""
from __future__ import annotations

import re

from kgen_ext.request import Category
from kgen_ext.tags.names import key_of, load_names

_QUALITY = frozenset(
    "10k 12k 16k 24k 2k 32k 3k 4k 5k 64k 6k 8k aesthetic aesthetics anatomy best bestquality composition"
    " definition detail detailed detailing details fhd filesize finedetail flawless hd hdr highdetail highres"
    " hires hq intricate masterpiece masterpieces megapixel perfect proportions qhd quality res resolution"
    " sharpness uhd uhq ultradetailed ultrahd xxl".split()
)
_META = frozenset(
    "artstation artwork behance cg cgi cgsociety deviantart dslr hyperrealism hyperrealistic illustration"
    " illustrations octane photo photograph photographic photographs photography photoreal photorealism"
    " photorealistic photos photoshoot raw raytraced raytracing realism render rendered rendering slr"
    " ultrarealistic unity unreal unsplash vray wallpaper zbrush".split()
)
# Beside such words, these say nothing of what is in the picture, either.
_FILLER = frozenset(
    "5 6 a absurdly amazing and art at award awarded awesome background bad beautiful better body breathtaking by"
    " clean clear coherent color colors complex contest crisp delicate digital editorial elaborate engine"
    " exceptional exquisite extra extreme extremely extremly eye eyes face faces facial famous fantastic featured"
    " features file fine finely for from full good gorgeous great hair hand hands high higher highest highly higly"
    " hot huge hyper illustrated image images immense impressive in incredible incredibly insane insanely intense"
    " intricately large level lighting lines lips low lowest luxurious many max maximal maximum meticulous"
    " meticulously most natural normal nose of official on picture pictures pixel pixels popular post precise"
    " premium print processing professional professionally proper real realistic reality really refined"
    " resolutions rich shading shadow shadowing shadows sharp shot skin so social soft some stunning style sublime"
    " super superb supreme surreal teeth texture textured textures texturing the top tracing trending true"
    " ultimate ultra unbelievable unified unparalleled very view visual vivid voted website winning with wonderful"
    " work works world worse worst wow".split()
)
# Whole tags, among them some that Danbooru or the lists have as something else.
ALONE = {
    **dict.fromkeys(
        ("12k", "32k", "amazing", "awesome", "beautiful", "breathtaking", "crisp", "detailed", "extremely detailed",
         "fantastic", "flawless", "gorgeous", "hd", "hdr", "hi-res", "high res", "highly detailed", "hires", "hq",
         "in focus", "incredible", "intricate", "perfect", "sharp", "sharp focus", "stunning", "super detailed",
         "superb", "supreme", "terrific", "uhd", "ultra detailed", "very detailed", "wonderful"),
        Category.QUALITY,
    ),
    **dict.fromkeys(
        ("35mm film", "analog film", "analog photo", "anime", "anime art style", "anime artwork", "anime style",
         "award winning", "award-winning", "blender", "cinema 4d", "color grading", "concept art", "digital art",
         "digital painting", "dslr", "film grain", "film photography", "global illumination", "grainy", "key visual",
         "modelshoot style", "national geographic", "octane", "path tracing", "pathtracing", "photon mapping",
         "photorealistic", "physically based rendering", "physically-based rendering", "professional color grading",
         "radiosity", "raw", "ray tracing", "stock photo", "subsurface scattering", "unity", "unreal", "v-ray",
         "visual key"),
        Category.META,
    ),
}  # fmt: skip
_BRANDS = "canon|fuji|fujifilm|hasselblad|kodak|leica|nikon|olympus|panasonic|pentax|sony"
_MAKE = re.compile(
    rf"(?:shot (?:on|with) (?:a )?)?(?:{_BRANDS})(?: [a-z]{{0,12}}-?[0-9][a-z0-9/.-]{{0,12}}| eos| alpha| portra| ektar"
    r"| superia| ektachrome| velvia| provia| mark| ii| iii| iv| pro| lens| film| camera| dslr)+"
    r"|[0-9]{2,3} ?mm(?: (?:lens|photo|photography|film|f/?[0-9.]{1,4}))?|f/[0-9.]{1,4}|iso ?[0-9]{2,5}"
)
_SCORE = re.compile(r"score[ _](?:10|[0-9])(?:[ _]up)?")
_YEAR = re.compile(r"year ?:? ?[0-9]{4}")
_RATING = re.compile(r"rating[ :=-]{1,3}([a-z]+)")
RATINGS = ("safe", "general", "sfw", "sensitive", "nsfw", "questionable", "explicit")
_ARTIST = re.compile(
    r"(?:(?:(?:[a-z]+ ){0,2}(?:art|artwork|cover|designed|directed|drawing|drawn|illustrated|illustration|inspired"
    r"|painted|painting|photo|photograph|photography|style|styled) )?by|(?:in )?(?:the )?style of|artist ?:) (.+)"
)
_STYLE = re.compile(r"(\S+ .+?)(?:'s)?[ -]style")
_AND = re.compile(r", | and | & | \+ | x ")
_MAX_WORDS = 4
_NO_NAMES = frozenset(
    "a air all an anonymous artist artists author camera candle candlelight car chance day default each far fire"
    " firelight hand her herself him himself his it itself land light me moonlight my myself night nobody one our"
    " own sea ship side someone starlight step sunlight that the their them themselves this torchlight train"
    " unknown us various you your yourself".split()
)


def checkpoint_category(name: str) -> Category | None:
    """Return quality, meta or artist for a tag that says nothing of what is in the picture, else None.

    >>> [checkpoint_category(name) for name in ("detailed face", "detailed armor", "by candlelight")]
    [<Category.QUALITY: 'quality'>, None, None]
    """
    words = (name.replace("-", " ") if "-" in name else name).split()
    kinds = {
        Category.QUALITY if word in _QUALITY else Category.META if word in _META else word in _FILLER for word in words
    }
    if False not in kinds:
        for category in (Category.META, Category.QUALITY):
            if category in kinds:
                return category
    if _SCORE.fullmatch(name):
        return Category.QUALITY
    if _YEAR.fullmatch(name) or _MAKE.fullmatch(name):
        return Category.META
    return Category.ARTIST if artists_of(name) else None


def rating_of(name: str) -> str | None:
    """Return the rating in a tag such as `rating:safe`, or None."""
    found = _RATING.fullmatch(name) if name.startswith("rating") else None
    return found[1] if found and found[1] in RATINGS else None


def artists_of(name: str) -> tuple[str, ...]:
    """Return the names in a phrase that names artists, () for any other.

    >>> artists_of("art by greg rutkowski and some newcomer"), artists_of("by the sea")
    (('greg rutkowski', 'some newcomer'), ())
    """
    if found := _ARTIST.fullmatch(name):
        names = tuple(_AND.split(found[1]))
        return names if all(map(_is_name, names)) else ()
    found = _STYLE.fullmatch(name) if name.endswith("style") else None
    return (found[1],) if found and load_names().category(key_of(found[1])) is Category.ARTIST else ()


def _is_name(text: str) -> bool:
    table = load_names()
    if (category := table.category(key_of(text))) is not None:
        return category is not Category.GENERAL
    words = text.split()
    return 0 < len(words) <= _MAX_WORDS and all(
        word not in _NO_NAMES and word[0].isalpha() and table.category(word) is not Category.GENERAL for word in words
    )
