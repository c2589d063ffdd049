"""The words that the rules planner knows: verbs, nouns, languages, formats, small words. Tables alone.

Rules of this module:
- Words are lower case and singular; :func:`singular` leads there. A word that no table knows is no fault: it is taken
  for what the sentence's shape makes of it.
"""

from __future__ import annotations

from typing import Final, Literal

VerbKind = Literal["write", "translate", "convert", "summarize", "edit", "other"]


def _words(text: str) -> list[str]:
    return text.split()


_WRITE = _words(
    """write generate create make compose draft produce tell give brainstorm invent suggest craft prepare design
    propose author"""
)
_EDIT = _words(
    """improve proofread polish shorten expand simplify rewrite edit correct fix rephrase paraphrase revise"""
)
_OTHER = _words(
    """analyze analyse compare combine merge pick choose select rank rate score review check test explain describe
    post publish send share save read fetch research outline list sort name answer evaluate critique classify
    extract find count collect gather print show store upload email mail plan format illustrate discuss verify
    vote title add remove report assemble join"""
)

VERBS: Final[dict[str, VerbKind]] = {
    **dict.fromkeys(_WRITE, "write"),
    **dict.fromkeys(_EDIT, "edit"),
    **dict.fromkeys(_OTHER, "other"),
    **dict.fromkeys(["translate"], "translate"),
    **dict.fromkeys(_words("convert export transform turn"), "convert"),
    **dict.fromkeys(_words("summarize summarise condense recap"), "summarize"),
}

# Also nouns: at a place where either is possible, one of them is a verb only before a word that begins an object.
AMBIGUOUS: Final = frozenset(
    _words(
        """post report list outline draft review design plan rank name title check test answer research email mail
    share format sort print show rate score count vote fix edit find read save store recap make pick export"""
    )
)

# Sentences that begin so say how something is to be, not what else is to be made.
REMARKS: Final = frozenset(_words("keep use include ensure avoid be limit"))
# A sentence that begins so goes on about what was asked before: "It should be funny.", "No rhymes, please."
REMARK_OPENERS: Final = REMARKS | frozenset(
    _words("it they them this that these those the a an no not each every all both its their make my our your i we")
)
# Before a list that is marked as one ("do the following:") these ask for nothing.
LEAD_WORDS: Final = frozenset(
    _words(
        """a an the these this that my our your for me us of on in and to is are be here what i we you do need want
    please following steps tasks task things thing items points list todo to-do todos work order now today all each"""
    )
)
# What these are done to is all that was made before, whatever they call it ("the best").
GATHERING: Final = frozenset(
    _words("""pick choose select rank compare combine merge vote collect gather assemble join sort""")
)
# These are done to each item of a list alone.
ITEMWISE: Final = frozenset(
    _words("""research describe explain fetch read analyze analyse review check test find evaluate critique verify""")
)

# "explain how supply and prices meet" asks for one thing, whatever it lists.
QUESTIONS: Final = frozenset(_words("how why what when where which who whether if that"))
DETERMINERS: Final = frozenset(_words("a an the some my your our their its his her this that these those one"))
PRONOUNS_SINGULAR: Final = frozenset(_words("it this that"))
PRONOUNS_PLURAL: Final = frozenset(_words("them these those both all everything"))
DISTRIBUTORS: Final = frozenset(["each", "every"])
OBJECT_OPENERS: Final = DETERMINERS | PRONOUNS_SINGULAR | PRONOUNS_PLURAL | DISTRIBUTORS | {"to", "into", "in"}
DIFFERENT: Final = frozenset(_words("different distinct unique separate various individual"))

NUMBERS: Final = {
    word: value
    for value, word in enumerate(
        _words(
            """two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty"""
        ),
        start=2,
    )
}
# As many as the word leaves open are taken for three.
VAGUE_COUNTS: Final = {"several": 3, "few": 3, "couple": 2, "dozen": 12, "pair": 2}

# Of these a number says how long something is, not how many things there are.
UNITS: Final = frozenset(
    _words(
        """sentence word paragraph line page character minute second hour verse stanza bullet point letter syllable
    token percent day week year step"""
    )
)

# What other texts are made from.
SOURCES: Final = frozenset(
    _words(
        """article essay story report blog text joke poem haiku song letter speech document chapter book paper tutorial
    guide script dialogue review recipe description limerick fable lesson proposal plan introduction conclusion
    biography documentation specification manual novel ballad sonnet riddle pun quote greeting invitation press
    release announcement menu quiz question answer idea name slogan tagline code function program list"""
    )
)
# What is made from another text, where one precedes it.
DERIVED: Final = frozenset(
    _words(
        """summary abstract post tweet headline title teaser caption blurb newsletter translation digest tldr keyword
    outline subtitle hashtag snippet excerpt thread version variant"""
    )
)
PRODUCTS: Final = SOURCES | DERIVED | {"email", "message", "draft", "sketch", "table", "poster"}
# Words for whatever came out before.
ANYTHING: Final = frozenset(_words("result text output content document file answer work piece"))

TOPIC_PREPOSITIONS: Final = frozenset(_words("about on regarding concerning for covering in of from with to between"))
PREPOSITIONS: Final = TOPIC_PREPOSITIONS | frozenset(_words("by using that which who as at into based per under"))

# What a thing that is to be made is not called, and how its name does not begin: verbs that the rules do not know, too.
NEVER_IN_A_NAME: Final = DETERMINERS | frozenset(_words("all it them me us you if neither nor either both not"))
NEVER_FIRST: Final = PREPOSITIONS | frozenset(_words("have get let go ask wait start stop try call when"))

PLATFORMS: Final = ("Twitter", "LinkedIn", "Facebook", "Instagram", "Mastodon", "Threads", "Bluesky", "Reddit")

LANGUAGES: Final = frozenset(
    _words(
        """arabic bengali bulgarian catalan chinese croatian czech danish dutch english esperanto estonian finnish
    french german greek hebrew hindi hungarian icelandic indonesian irish italian japanese korean latin latvian
    lithuanian malay mandarin norwegian persian polish portuguese punjabi romanian russian serbian slovak
    slovenian spanish swahili swedish tamil telugu thai turkish ukrainian urdu vietnamese welsh"""
    )
)
# Taken in this order where a task asks for "three languages" and names none.
USUAL_LANGUAGES: Final = ("French", "Spanish", "German", "Italian", "Portuguese", "Dutch", "Polish", "Swedish",
                          "Danish", "Finnish", "Greek", "Czech")  # fmt: skip

# How people call a format, and the name by which the converter knows it.
FORMATS: Final = {
    "pdf": "pdf", "docx": "docx", "word": "docx", "html": "html", "epub": "epub", "odt": "odt", "rtf": "rtf",
    "latex": "latex", "tex": "latex", "rst": "rst", "txt": "txt", "text": "txt", "markdown": "md", "md": "md",
    "pptx": "pptx", "powerpoint": "pptx",
}  # fmt: skip

_IRREGULAR = {"stories": "story", "haikus": "haiku", "series": "series", "summaries": "summary", "news": "news",
              "limericks": "limerick", "ads": "ad", "analyses": "analysis", "quizzes": "quiz"}  # fmt: skip
_HISSING = ("ses", "xes", "zes", "ches", "shes")


def singular(word: str) -> str:
    """The singular of an English noun, as far as its ending shows."""
    word = word.lower()
    if " " in word:  # a pair, a range: one word to the rules, and none to this
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(_HISSING):
        return word[:-2] if not word.endswith(("ses", "zes")) else word[:-1]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def is_plural(word: str) -> bool:
    """Whether a noun looks like a plural."""
    return singular(word) != word.lower()
