//! One line into words: quotes, escapes, variables, comments.
