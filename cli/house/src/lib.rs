//! Reads the source tree the way the house's laws need it: files, packages and bare code.
//!
//! The laws themselves are the integration tests beside this library: `tidy` (how a file looks), `arrows` (who may
//! know whom) and `readme` (what the front page promises).

mod code;
mod packages;
mod tree;

pub use code::{bare, declared_names, words};
pub use packages::{Package, packages};
pub use tree::{SourceFile, files, root};
