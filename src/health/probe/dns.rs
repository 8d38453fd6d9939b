//! A probe that asks a name server over UDP.
//!
//! Our own forty lines of the wire format (RFC 1035, 4.1) instead of a library of all of it: a question is written, and
//! of an answer only the header and the question that it repeats are read, so that one that was cut off serves as well.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

use super::{Failure, udp};
use crate::config::{DnsProbe, ResponseCode};

const HEADER: usize = 12;

/// Of the third byte of the header: this is an answer.
const ANSWER: u8 = 0x80;

/// Of the third byte of the header: recursion is desired, as every stub resolver does.
const RECURSION_DESIRED: u8 = 0x01;

/// Of the fourth byte of the header.
const RCODE: u8 = 0x0f;

const CLASS_INTERNET: u16 = 1;
const SERVER_FAILURE: ResponseCode = ResponseCode(2);

/// FORMERR, SERVFAIL, NOTIMP and REFUSED: what a server may say without having understood, or even read, the question.
const WITHOUT_QUESTION: [ResponseCode; 4] = [ResponseCode(1), SERVER_FAILURE, ResponseCode(4), ResponseCode(5)];

/// What is read of an answer: more than a header and the longest question there is.
const READ: usize = 512;

/// Asks, and waits for an answer to exactly this question.
pub(super) async fn ask(addr: SocketAddr, probe: &DnsProbe) -> Result<(), Failure> {
    // The keys of the standard library's hash tables are the randomness at hand that cannot be guessed from outside.
    let random = RandomState::new();
    let question = question(probe, random.hash_one(0), |index| random.hash_one(index) & 1 == 1);
    let socket = udp::send(addr, &question).await.map_err(Failure::Unsent)?;
    let mut answer = [0; READ];
    loop {
        let received = socket.recv(&mut answer).await.map_err(Failure::Unanswered)?;
        // Whatever does not repeat id and question, in our spelling, is a forged answer.
        if let Some(rcode) = answer_to(&question, &answer[..received]) {
            return judge(rcode, probe.rcode);
        }
    }
}

/// A query with this id, in which `upper` says of every letter how it is spelled: an answer repeats it.
fn question(probe: &DnsProbe, id: u64, upper: impl Fn(usize) -> bool) -> Vec<u8> {
    let [first, second, ..] = id.to_be_bytes();
    let mut query = vec![first, second, RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    // The lengths of labels are below every letter.
    let spelled = probe
        .query
        .wire()
        .iter()
        .enumerate()
        .map(|(index, byte)| if upper(index) { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() });
    query.extend(spelled);
    query.extend(probe.record.0.to_be_bytes());
    query.extend(CLASS_INTERNET.to_be_bytes());
    query
}

/// The RCODE, if this is the answer to `question`, which it repeats letter by letter unless it is one of
/// [`WITHOUT_QUESTION`].
fn answer_to(question: &[u8], answer: &[u8]) -> Option<ResponseCode> {
    let header = answer.get(..HEADER)?;
    let is_ours = header[..2] == question[..2] && header[2] & ANSWER != 0;
    let rcode = ResponseCode(header[3] & RCODE);
    let repeats = answer.get(HEADER..question.len()) == question.get(HEADER..) && header[4..6] == [0, 1];
    let has_none = header[4..6] == [0, 0] && WITHOUT_QUESTION.contains(&rcode);
    (is_ours && (repeats || has_none)).then_some(rcode)
}

fn judge(rcode: ResponseCode, wanted: Option<ResponseCode>) -> Result<(), Failure> {
    let passes = wanted.map_or(rcode != SERVER_FAILURE, |wanted| rcode == wanted);
    if passes { Ok(()) } else { Err(Failure::Wrong(format!("the server answers with RCODE {}", rcode.0))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Machine, Probe};
    use std::num::NonZeroUsize;

    fn probe() -> DnsProbe {
        let text = "listeners.a = { bind = ['127.0.0.1:1'], pool = 'p' }\n[pools.p]\nbackends = ['127.0.0.1:2']\n\
            health_check = { type = 'dns', query = 'a.Example', record = 'SOA' }\n";
        let machine = Machine { descriptor_limit: 1 << 16, ephemeral_ports: 28_232, cpus: NonZeroUsize::MIN };
        let config = Config::parse("test", text, &machine).unwrap_or_else(|errors| panic!("{errors}"));
        match config.pools.into_values().next().and_then(|pool| pool.health_check).map(|check| check.probe) {
            Some(Probe::Dns(probe)) => probe,
            other => panic!("{other:?}"),
        }
    }

    fn asked() -> Vec<u8> {
        question(&probe(), 0xbeef << 48, |index| index % 2 == 1)
    }

    #[test]
    fn a_question_is_a_header_a_name_a_type_and_a_class() {
        let expected = b"\xbe\xef\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01A\x07ExAmPlE\x00\x00\x06\x00\x01";
        let lower = |bytes: &[u8]| bytes.to_ascii_lowercase();
        assert_eq!(lower(&asked()), lower(expected));
        assert_ne!(asked(), lower(&asked()), "some letters are capitals");
    }

    #[test]
    fn only_an_answer_to_this_question_counts() {
        let mut answer = asked();
        answer[2] |= ANSWER;
        answer[3] = 3;
        assert_eq!(answer_to(&asked(), &answer), Some(ResponseCode(3)));
        assert_eq!(answer_to(&asked(), &[&answer[..], b"records"].concat()), Some(ResponseCode(3)));
        assert_eq!(answer_to(&asked(), &asked()), None, "our own question");
        assert_eq!(answer_to(&asked(), &answer[..HEADER + 3]), None, "cut off within the question");
        for other in [0, 1, 13, answer.len() - 1] {
            let mut forged = answer.clone();
            forged[other] ^= 0x20;
            assert_eq!(answer_to(&asked(), &forged), None, "byte {other}");
        }
    }

    #[test]
    fn only_who_does_not_know_may_leave_the_question_out() {
        let mut header = asked()[..HEADER].to_vec();
        header[2] |= ANSWER;
        header[5] = 0;
        let mut accepts = |rcode| {
            header[3] = rcode;
            answer_to(&asked(), &header).is_some()
        };
        assert_eq!((0..16).filter(|rcode| accepts(*rcode)).collect::<Vec<_>>(), [1, 2, 4, 5]);
    }

    #[test]
    fn any_answer_but_a_failure_passes_or_exactly_the_wanted_one() {
        let passing = |wanted| (0..6).filter(|rcode| judge(ResponseCode(*rcode), wanted).is_ok()).collect::<Vec<_>>();
        assert_eq!(passing(None), [0, 1, 3, 4, 5]);
        assert_eq!(passing(Some(ResponseCode(3))), [3]);
        assert_eq!(passing(Some(SERVER_FAILURE)), [2]);
    }
}
