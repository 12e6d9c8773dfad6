//! The turns of phrase to avoid. This folder is not searched itself.

/// A turn of phrase, and what to write instead.
pub(super) struct Phrase {
    /// Its words; `|` separates words of which any is meant.
    pub(super) words: &'static str,
    /// Not after one of these words, and not before one of those: there it is plain English.
    pub(super) unless: [&'static str; 2],
    pub(super) instead: &'static str,
}

const ANYWHERE: [&str; 2] = ["", ""];

/// Words before "one" that make it a thing: "the next one may be sent".
const A_CERTAIN: &str = "this|that|the|next|last|other|another|old|older|new|newer|present|further|\
                         large|larger|small|smaller|first|second|each|every|no|only|any|and|or";

pub(super) const PHRASES: &[Phrase] = &[
    Phrase {
        words: "whoever|whomever",
        unless: ANYWHERE,
        instead: "name it: \"a process that …\"",
    },
    Phrase {
        words: "by|for|from|than|to|wake|wakes|one|side|process|program who",
        unless: ANYWHERE,
        instead: "\"who\" is for people: \"the process that …\", \"the side that …\"",
    },
    Phrase {
        words: "stand|stands|stood|standing in",
        unless: ["", "for|line|front"],
        instead: "\"is in\", \"contains\"; of a document: \"WIRE.md specifies …\"",
    },
    Phrase {
        words: "is|are|was|were no",
        unless: ["there|here", "longer|more|less|better|worse|need|doubt"],
        instead: "\"is not a …\"",
    },
    Phrase {
        words: "there is|are|was|were none",
        unless: ANYWHERE,
        instead: "\"without a …\", \"if it is absent\", \"there is no …\"",
    },
    Phrase {
        words: "is|are|was|were none",
        unless: ["there", ""],
        instead: "\"is not a …\", \"means none\"",
    },
    Phrase {
        words: "one may|must|can|would|could|should|might",
        unless: [A_CERTAIN, ""],
        instead: "\"you can\", or the imperative",
    },
    Phrase {
        words: "of its|their own",
        unless: ANYWHERE,
        instead: "\"its own …\", \"a separate …\"",
    },
    Phrase {
        words: "so many",
        unless: ANYWHERE,
        instead: "\"that many\", \"`len` bytes\", \"enough … that\"",
    },
    Phrase {
        words: "what has|have|had",
        unless: ["", "happened|changed"],
        instead: "name it: \"messages that arrived\", \"programs without …\"",
    },
    Phrase { words: "abortion|abortions", unless: ANYWHERE, instead: "\"abort\"" },
    Phrase {
        words: "ring|rings|bell|bells too many",
        unless: ANYWHERE,
        instead: "\"spurious wake-up\"",
    },
    Phrase {
        words: "let|lets|letting go of",
        unless: ANYWHERE,
        instead: "\"releases\", \"retires\", \"closes\"",
    },
    Phrase {
        words: "socket|sockets of packets",
        unless: ANYWHERE,
        instead: "\"SOCK_SEQPACKET socket\"",
    },
    Phrase { words: "input and output", unless: ["standard", ""], instead: "\"I/O\"" },
    Phrase { words: "is|was kept of", unless: ANYWHERE, instead: "\"keeps no …\"" },
    Phrase { words: "ends of its range", unless: ANYWHERE, instead: "\"saturates\"" },
    Phrase {
        words: "not without|nothing|none",
        unless: ANYWHERE,
        instead: "say it without two negations",
    },
];
