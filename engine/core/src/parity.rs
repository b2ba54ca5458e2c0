//! Parity shards: a Cauchy code over GF(2^8) in whole bytes, in vectors as wide as the processor has them.
//!
//! Any `data` of the `data + parity` shards of a block give back the others. Shards are columns of 1,024 symbols;
//! shorter ones are padded with zeros. The first parity shard is the plain XOR of the data, so that the usual loss,
//! one shard, costs one XOR of the block. `docs/wire.md` defines the code for other implementations.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, u8x64};

use crate::wire::{SHARD_BYTES, SHARDS_MAX};

/// A shard at full length.
pub type Shard = [u8; SHARD_BYTES];

/// x^8 + x^4 + x^3 + x^2 + 1, whose root 2 generates the field (RFC 5510, section 8.1), without its highest term.
const POLYNOMIAL: u8 = 0x1d;
/// Powers of 2, twice over, and the logarithms of all symbols but 0.
const TABLES: ([u8; 510], [u8; 256]) = tables();
/// Row 0 of the Cauchy matrix: 128 + parity index and data index never meet.
const FIRST_ROW: u8 = 128;
const _: () = assert!(SHARDS_MAX <= FIRST_ROW as usize && SHARDS_MAX <= u64::BITS as usize);

/// Shards whose sums are made beforehand: four have 16, for eleven additions.
const GROUP: usize = 4;
const GROUPS_MAX: usize = SHARDS_MAX.div_ceil(GROUP);
/// Bytes of a shard that are worked on at once: the sums of all groups take 16 KiB, half of a first-level cache.
const STRIP_BYTES: usize = 64;
/// Strips that a lone row takes at once.
const STRIPS: usize = 4;

/// Why shards cannot be made or made good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParityError {
    /// A block has 1 to 62 shards, at least one of them data.
    #[error("no block has {data} data and {parity} parity shards")]
    Counts {
        /// Data shards.
        data: usize,
        /// Parity shards.
        parity: usize,
    },
    /// A shard has more than 1,024 bytes.
    #[error("a shard has {0} bytes")]
    Length(usize),
    /// Fewer shards are held than the block has data.
    #[error("{held} shards do not give back {data}")]
    TooFew {
        /// Shards held.
        held: usize,
        /// Data shards of the block.
        data: usize,
    },
}

/// Makes the parity shards of a block.
///
/// # Errors
/// [`ParityError::Counts`] without data or with more than 62 shards in all, [`ParityError::Length`] when a shard has
/// more than 1,024 bytes.
pub fn encode(data: &[&[u8]], parity: usize) -> Result<Vec<Shard>, ParityError> {
    check_counts(data.len(), parity)?;
    let padded = pad(data.iter().copied())?;
    let data = whole(data.iter().copied(), &padded);
    let row = |row| (0..data.len() as u8).map(|index| coefficient(row, index)).collect();
    Ok(combine(&(0..parity as u8).map(row).collect::<Vec<_>>(), &data))
}

/// Returns the data shards that are missing, each with its index. Parity is used only as far as it is needed.
///
/// # Errors
/// As [`encode`], and [`ParityError::TooFew`] when fewer shards are held than the block has data.
pub fn recover(data: &[Option<&[u8]>], parity: &[Option<&[u8]>]) -> Result<Vec<(u8, Shard)>, ParityError> {
    check_counts(data.len(), parity.len())?;
    let numbered = |shards: &[Option<&[u8]>], held| -> Vec<u8> {
        (0..).zip(shards).filter(|(_, shard)| shard.is_some() == held).map(|(index, _)| index).collect()
    };
    let missing = numbered(data, false);
    let mut rows = numbered(parity, true);
    if rows.len() < missing.len() {
        let held = data.len() - missing.len() + rows.len();
        return Err(ParityError::TooFew { held, data: data.len() });
    }
    rows.truncate(missing.len());
    let indices = numbered(data, true);
    let present = || data.iter().flatten().copied();
    let used = || rows.iter().filter_map(|row| parity[usize::from(*row)]);
    let padded = pad(present().chain(used()))?;
    let shards = whole(present().chain(used()), &padded);
    let (present, used) = shards.split_at(indices.len());
    let row = |row: &u8| indices.iter().map(|index| coefficient(*row, *index)).collect();
    let mut remainders = combine(&rows.iter().map(row).collect::<Vec<_>>(), present);
    for (remainder, parity) in remainders.iter_mut().zip(used) {
        remainder.iter_mut().zip(*parity).for_each(|(symbol, of_parity)| *symbol ^= of_parity);
    }
    let remainders: Vec<&Shard> = remainders.iter().collect();
    Ok(missing.iter().copied().zip(combine(&invert(&rows, &missing), &remainders)).collect())
}

fn check_counts(data: usize, parity: usize) -> Result<(), ParityError> {
    if data == 0 || data > SHARDS_MAX || parity > SHARDS_MAX - data {
        return Err(ParityError::Counts { data, parity });
    }
    Ok(())
}

/// Copies the shards that are short, and fills them up with zeros.
fn pad<'a>(shards: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Shard>, ParityError> {
    let mut padded = Vec::new();
    for shard in shards.filter(|shard| shard.len() != SHARD_BYTES) {
        let mut copy = [0; SHARD_BYTES];
        copy.get_mut(..shard.len()).ok_or(ParityError::Length(shard.len()))?.copy_from_slice(shard);
        padded.push(copy);
    }
    Ok(padded)
}

/// Returns the shards at full length, the copies in the place of those that are short.
fn whole<'a>(shards: impl Iterator<Item = &'a [u8]>, padded: &'a [Shard]) -> Vec<&'a Shard> {
    let mut padded = padded.iter();
    shards.filter_map(|shard| shard.try_into().ok().or_else(|| padded.next())).collect()
}

/// For each bit of the coefficients, the highest first, and each group of shards: which of the group have it.
type Picks = [[u8; GROUPS_MAX]; 8];

/// Sums up at most 64 shards for each row of coefficients, each shard times its own: by Horner's rule over the bits of
/// the coefficients, seven doublings of a sum whatever the number of shards.
fn combine(rows: &[Vec<u8>], shards: &[&Shard]) -> Vec<Shard> {
    let mut sums = vec![[0; SHARD_BYTES]; rows.len()];
    if let ([row], [sum]) = (rows, &mut sums[..]) {
        dispatch!(Level::new(), simd => combine_row(simd, row, shards, sum));
    } else {
        let picks: Vec<Picks> = rows.iter().map(|row| pick(row)).collect();
        dispatch!(Level::new(), simd => combine_strips(simd, &picks, shards, &mut sums));
    }
    sums
}

/// With one addition for each bit that is set: the usual repair, one shard by the first parity, is a plain sum.
#[inline(always)]
fn combine_row<S: Simd>(simd: S, row: &[u8], shards: &[&Shard], sum: &mut Shard) {
    let mut planes = [0_u64; 8];
    for (at, coefficient) in row.iter().enumerate() {
        for (bit, plane) in planes.iter_mut().rev().enumerate() {
            *plane |= u64::from(coefficient >> bit & 1) << at;
        }
    }
    for (strips, of_sum) in
        sum.as_chunks_mut::<STRIP_BYTES>().0.as_chunks_mut::<STRIPS>().0.iter_mut().enumerate()
    {
        let mut sums = [u8x64::splat(simd, 0); STRIPS];
        for plane in planes.iter().skip_while(|plane| **plane == 0) {
            sums = sums.map(|sum| double(simd, sum));
            let mut rest = *plane;
            while rest != 0 {
                let shard = shards[rest.trailing_zeros() as usize];
                let strips = &shard.as_chunks::<STRIP_BYTES>().0.as_chunks::<STRIPS>().0[strips];
                for (sum, strip) in sums.iter_mut().zip(strips) {
                    *sum ^= u8x64::from_slice(simd, strip);
                }
                rest &= rest - 1;
            }
        }
        sums.iter().zip(of_sum).for_each(|(sum, strip)| sum.store_slice(strip));
    }
}

fn pick(coefficients: &[u8]) -> Picks {
    let mut picks = [[0; GROUPS_MAX]; 8];
    for (at, coefficient) in coefficients.iter().enumerate().take(GROUP * GROUPS_MAX) {
        for (bit, groups) in picks.iter_mut().rev().enumerate() {
            groups[at / GROUP] |= (coefficient >> bit & 1) << (at % GROUP);
        }
    }
    picks
}

/// By the method of four Russians, with one addition for each bit and group of four shards, whose 16 sums all rows
/// share. Strip by strip, so that the sums of all groups stay in the first-level cache.
#[inline(always)]
fn combine_strips<S: Simd>(simd: S, picks: &[Picks], shards: &[&Shard], sums: &mut [Shard]) {
    let mut tables = [[u8x64::splat(simd, 0); 1 << GROUP]; GROUPS_MAX];
    for strip in 0..SHARD_BYTES / STRIP_BYTES {
        let groups = shards.chunks(GROUP).zip(&mut tables);
        let groups = groups.map(|(group, table)| sum_up(simd, group, strip, table)).count();
        for (picks, sum) in picks.iter().zip(&mut *sums) {
            let strip = &mut sum.as_chunks_mut::<STRIP_BYTES>().0[strip];
            horner(simd, picks, &tables[..groups]).store_slice(strip);
        }
    }
}

/// Fills in the sums of a group's shards: entry `n` is that of the shards whose bits are set in `n`.
#[inline(always)]
fn sum_up<S: Simd>(simd: S, group: &[&Shard], strip: usize, table: &mut [u8x64<S>; 1 << GROUP]) {
    for (at, shard) in group.iter().enumerate() {
        let strip = u8x64::from_slice(simd, &shard.as_chunks::<STRIP_BYTES>().0[strip]);
        for sum in 0..1 << at {
            table[1 << at | sum] = table[sum] ^ strip;
        }
    }
}

#[inline(always)]
fn horner<S: Simd>(simd: S, picks: &Picks, tables: &[[u8x64<S>; 1 << GROUP]]) -> u8x64<S> {
    let mut sum = u8x64::splat(simd, 0);
    for picks in picks.iter().skip_while(|picks| **picks == [0; GROUPS_MAX]) {
        sum = double(simd, sum);
        for (table, pick) in tables.iter().zip(picks) {
            sum ^= table[usize::from(*pick) % (1 << GROUP)];
        }
    }
    sum
}

#[inline(always)]
fn double<S: Simd>(simd: S, symbols: u8x64<S>) -> u8x64<S> {
    let (zero, polynomial) = (u8x64::splat(simd, 0), u8x64::splat(simd, POLYNOMIAL));
    (symbols + symbols) ^ symbols.simd_ge(0x80).select(polynomial, zero)
}

/// Returns the coefficient of a data shard in a parity shard: a Cauchy matrix, each column divided by its first symbol,
/// which leaves every square part of it regular.
fn coefficient(row: u8, index: u8) -> u8 {
    divide(FIRST_ROW ^ index, (FIRST_ROW + row) ^ index)
}

/// Inverts the part of the matrix that maps the missing shards to the rows used, by Gauss and Jordan. Every leading
/// part of it is regular too, so no pivot is 0.
fn invert(rows: &[u8], missing: &[u8]) -> Vec<Vec<u8>> {
    let size = rows.len();
    let mut wide: Vec<Vec<u8>> = (rows.iter().enumerate())
        .map(|(at, row)| {
            let unit = (0..size).map(|column| u8::from(column == at));
            missing.iter().map(|index| coefficient(*row, *index)).chain(unit).collect()
        })
        .collect();
    for pivot in 0..size {
        let by = wide[pivot][pivot];
        wide[pivot].iter_mut().for_each(|symbol| *symbol = divide(*symbol, by));
        let pivot_row = wide[pivot].clone();
        for row in wide.iter_mut().enumerate().filter(|(at, _)| *at != pivot).map(|(_, row)| row) {
            let factor = row[pivot];
            row.iter_mut()
                .zip(&pivot_row)
                .for_each(|(symbol, of_pivot)| *symbol ^= multiply(factor, *of_pivot));
        }
    }
    wide.into_iter().map(|mut row| row.split_off(size)).collect()
}

fn multiply(left: u8, right: u8) -> u8 {
    if left == 0 || right == 0 {
        return 0;
    }
    let (powers, logs) = &TABLES;
    powers[usize::from(logs[usize::from(left)]) + usize::from(logs[usize::from(right)])]
}

/// Divides; `right` is not 0.
fn divide(left: u8, right: u8) -> u8 {
    if left == 0 {
        return 0;
    }
    let (powers, logs) = &TABLES;
    powers[usize::from(logs[usize::from(left)]) + 255 - usize::from(logs[usize::from(right)])]
}

const fn tables() -> ([u8; 510], [u8; 256]) {
    let (mut powers, mut logs) = ([0; 510], [0; 256]);
    let (mut power, mut at) = (1_u8, 0);
    while at < 255 {
        powers[at] = power;
        powers[at + 255] = power;
        logs[power as usize] = at as u8;
        power = power << 1 ^ ((power as i8 >> 7) as u8 & POLYNOMIAL);
        at += 1;
    }
    (powers, logs)
}
