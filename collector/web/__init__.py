"""The collector's pages for people: server-rendered, in Chinese and English, needing nothing from outside."""
