//! The messages of both sides that a batch relays, by channel.

use super::Row;
use crate::settle::{
    SettleError,
    cooperative::CooperativeFile,
    files::{named_files, read, say},
};
use protocol_spec::ChannelId;
use std::{collections::BTreeMap, path::PathBuf};

/// One file.
struct Message {
    path: PathBuf,
    file: CooperativeFile,
}

/// The messages of one command.
#[derive(Default)]
pub(super) struct Messages(BTreeMap<ChannelId, Message>);

impl Messages {
    /// Reads them. A file that is no use gets a row of its own, and does not stop the others.
    ///
    /// # Errors
    /// [`SettleError::Usage`] for a directory that cannot be read, or has no `*.json`.
    pub(super) fn read(paths: &[PathBuf], command: &str) -> Result<(Self, Vec<Row>), SettleError> {
        let (mut messages, mut bad, mut others) = (Self::default(), Vec::new(), 0_usize);
        for path in paths {
            for path in named_files("messages", path, "json")? {
                let parsed = read("messages", &path).and_then(|bytes| CooperativeFile::parse(&bytes));
                match parsed {
                    Ok(file) if file.message.command() != command => others = others.saturating_add(1),
                    Ok(file) => bad.extend(messages.put(path, file)),
                    Err(error) => bad.push(Row::bad(path, error)),
                }
            }
        }
        if others > 0 {
            say(&format!(
                "{others} messages are for other commands than {command}: left aside"
            ));
        }
        Ok((messages, bad))
    }

    fn put(&mut self, path: PathBuf, file: CooperativeFile) -> Option<Row> {
        let channel = file.message.channel();
        match self.0.get(&channel) {
            // Named twice is one file.
            Some(first) if first.path == path => None,
            Some(first) => {
                let first = first.path.display();
                Some(Row::bad(
                    path,
                    SettleError::Usage(format!("of the same channel as {first}: keep one only")),
                ))
            }
            None => {
                self.0.insert(channel, Message { path, file });
                None
            }
        }
    }

    pub(super) fn of(&self, channel: ChannelId) -> Option<&CooperativeFile> {
        self.0.get(&channel).map(|message| &message.file)
    }

    /// A row for each message of a channel that is not among `known`.
    pub(super) fn strays(&self, known: impl Fn(&ChannelId) -> bool) -> Vec<Row> {
        let strays = self.0.iter().filter(|(channel, _)| !known(channel));
        strays
            .map(|(channel, message)| {
                let text = format!("the message is of channel {channel}, of which no evidence was given");
                Row::bad(message.path.clone(), SettleError::Refused(text))
            })
            .collect()
    }
}
