//! Load over HTTP/1.1 on connections that are kept.
