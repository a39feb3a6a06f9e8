//! Two people with API keys try to act alone where two are needed, or beyond their scenes.
