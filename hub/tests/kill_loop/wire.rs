//! Length-prefixed Borsh messages over a Unix socket.

use protocol_spec::message::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) async fn write(
    socket: &mut (impl AsyncWrite + Unpin),
    messages: &[Message],
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    for message in messages {
        let body = borsh::to_vec(message).unwrap();
        bytes.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
    }
    socket.write_all(&bytes).await
}

/// Not cancel-safe: reads in a task of its own.
pub(crate) async fn read(socket: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Message> {
    let length = socket.read_u32().await?;
    let mut body = vec![0; length as usize];
    socket.read_exact(&mut body).await?;
    Ok(borsh::from_slice(&body).unwrap())
}
